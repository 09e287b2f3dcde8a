import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.model import Removal, SliceKey
from edgecache.core.policy import name_of
from edgecache.store import files as module
from edgecache.store.at_once import Later
from edgecache.store.files import BLOCK, SliceFiles, WrongSlice, names, slice_cost, write_all
from edgecache.store.slice_format import PART, checksum, parts
from tests.slices import SIZE, Sliced, disk_use, slice_files, sliced

CLIP = sliced(length=3 * SIZE + 10)


@pytest.fixture
def files(tmp_path: Path) -> SliceFiles:
    files = SliceFiles(tmp_path, SIZE)
    files.prepare()
    return files


def write(files: SliceFiles, clip: Sliced, number: int = 0) -> Path:
    files.write(clip.key(number), clip.meta, clip.data(number))
    return slice_files(files._directory)[-1]


def read(files: SliceFiles, clip: Sliced, number: int = 0) -> bytes:
    fd, base, length, *_ = files.open(clip.key(number), clip.meta)
    try:
        return os.pread(fd, length, base)
    finally:
        os.close(fd)


@pytest.mark.parametrize("number", range(4))
def test_what_is_written_is_read(files: SliceFiles, number: int) -> None:
    length = files.write(CLIP.key(number), CLIP.meta, CLIP.data(number))
    [file] = slice_files(files._directory)
    assert file.stat().st_size == length == files.length(CLIP.meta, CLIP.data(number))
    assert read(files, CLIP, number) == CLIP.data(number)
    assert not (files._directory / "writing").exists()


def test_a_file_has_the_name_of_its_row(files: SliceFiles) -> None:
    name = files.name(SliceKey("ab" * 16, 12))
    assert name == f"v2-{SIZE}/ab/{'ab' * 16}-12"
    assert files.key(name) == SliceKey("ab" * 16, 12)


def test_of_a_long_slice_the_first_part_is_read_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecache.store.verified.SETTLED", 0.0)
    clip = replace(sliced(length=2**20), size=2**20)
    files = SliceFiles(tmp_path, 2**20)
    files.prepare()
    files.write(clip.key(), clip.meta, clip.data(0))
    asked: list[int] = []
    pread = os.pread

    def noted(fd: int, length: int, at: int) -> bytes:
        asked.append(length)
        return pread(fd, length, at)

    monkeypatch.setattr(os, "pread", noted)
    opened = files.open(clip.key(), clip.meta)
    os.close(opened.fd)
    assert asked == [opened.base + PART]
    assert opened.checksums == b"".join(map(checksum, parts(clip.data())))
    assert files.reopen(clip.key(), clip.meta) is None  # not before all of it was verified
    assert opened.on_verified is not None
    opened.on_verified()
    reopened = files.reopen(clip.key(), clip.meta)
    assert reopened is not None
    os.close(reopened.fd)
    assert (reopened.base, reopened.length) == (opened.base, opened.length)
    assert not reopened.checksums


@pytest.mark.parametrize(
    "name",
    [
        "",
        f"v2-{SIZE}/../cache.db",
        f"v2-{SIZE}/cd/{'ab' * 16}-1",
        f"v2-{SIZE}/ab/{'ab' * 16}-01",
        f"v2-{SIZE}/ab/{'ab' * 16}--1",
        f"v2-{SIZE}/ab/{'ab' * 16}-1\n",
        f"v2-{SIZE}/ab/{'AB' * 16}-1",
        f"v2-{SIZE}/ab/{'ab' * 16}-٣",
        f"v2-{SIZE * 2}/ab/{'ab' * 16}-1",
        f"v3-{SIZE}/ab/{'ab' * 16}-1",
        f"x/v2-{SIZE}/ab/{'ab' * 16}-1",
        "/etc/passwd",
    ],
)
def test_other_names_are_no_slices(files: SliceFiles, name: str) -> None:
    assert files.key(name) is None


def test_files_and_folders_are_for_the_owner_only(files: SliceFiles) -> None:
    file = write(files, CLIP)
    assert [path.stat().st_mode & 0o777 for path in (file, *list(file.parents)[:2])] == [
        0o600,
        0o700,
        0o700,
    ]


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 0x10
    file.write_bytes(data)


def replace_by_link(file: Path) -> None:
    """To the very same bytes."""
    file.rename(file.with_name("x"))
    file.symlink_to("x")


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_pipe(file: Path) -> None:
    """Opening one waits for a writer, unless told not to."""
    file.unlink()
    os.mkfifo(file)


def replace_folder(file: Path) -> None:
    file.unlink()
    file.parent.rmdir()
    file.parent.write_bytes(b"")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut to nothing": lambda file: os.truncate(file, 0),
    "cut": lambda file: os.truncate(file, file.stat().st_size - 1),
    "longer": lambda file: os.truncate(file, file.stat().st_size + 1),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "one bit": lambda file: flip(file, -1),
    "one bit of the header": lambda file: flip(file, 20),
    "missing": Path.unlink,
    "a link": replace_by_link,
    "a folder": replace_by_folder,
    "a pipe": replace_by_pipe,
    "its folder is a file": replace_folder,
}
# Those that leave no file of ours, which is no damage.
AWAY = {"missing", "a link", "its folder is a file"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_wrong(files: SliceFiles, damage: str) -> None:
    DAMAGES[damage](write(files, CLIP))
    with pytest.raises(WrongSlice) as wrong:
        files.open(CLIP.key(), CLIP.meta)
    assert wrong.value.reason is (Removal.MISSING if damage in AWAY else Removal.CORRUPT)


@pytest.fixture
def verified(files: SliceFiles, monkeypatch: pytest.MonkeyPatch) -> SliceFiles:
    """A slice that was opened, and may be opened again unread."""
    monkeypatch.setattr("edgecache.store.verified.SETTLED", 0.0)
    write(files, CLIP)
    os.close(files.open(CLIP.key(), CLIP.meta).fd)
    return files


def test_what_is_opened_again_does_not_wait_for_the_disk(
    verified: SliceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> int:
        raise Later

    monkeypatch.setattr(verified._at_once, "open", wait)
    assert verified.reopen(CLIP.key(), CLIP.meta) is None


@pytest.mark.parametrize("has_call", [True, False])
def test_what_was_verified_is_opened_again_on_any_kernel(
    verified: SliceFiles, monkeypatch: pytest.MonkeyPatch, has_call: bool
) -> None:
    if not has_call:
        monkeypatch.setattr(verified._at_once, "_call", None)
    file = verified.reopen(CLIP.key(), CLIP.meta)
    assert file is not None
    assert os.pread(file.fd, file.length, file.base) == CLIP.data()
    os.close(file.fd)


@pytest.mark.parametrize("good", [0, 1, 4096])
def test_a_bad_sector_is_the_disks_fault(
    files: SliceFiles, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """A read gives what is before it; only the next one fails."""
    write(files, CLIP)
    pread = os.pread

    def read(fd: int, length: int, at: int) -> bytes:
        if at >= good:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, min(length, good - at), at)

    monkeypatch.setattr(os, "pread", read)
    with pytest.raises(WrongSlice, match="Input/output error") as wrong:
        files.open(CLIP.key(), CLIP.meta)
    assert wrong.value.reason is Removal.UNREAD


def test_a_file_of_another_slice_is_wrong(files: SliceFiles) -> None:
    first, second = write(files, CLIP, 0), write(files, CLIP, 1)
    second.write_bytes(first.read_bytes())
    with pytest.raises(WrongSlice):
        files.open(CLIP.key(1), CLIP.meta)


def test_a_file_of_another_version_is_wrong(files: SliceFiles) -> None:
    write(files, CLIP)
    with pytest.raises(WrongSlice):
        files.open(CLIP.key(), replace(CLIP.meta, etag='"v2"'))


@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_says_nothing_of_the_slice(
    files: SliceFiles, shortage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(files, CLIP)

    def fail(*_args: object) -> int:
        raise OSError(shortage, os.strerror(shortage))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(OSError, match=os.strerror(shortage)):
            files.open(CLIP.key(), CLIP.meta)
    assert read(files, CLIP) == CLIP.data()


def test_a_read_error_makes_it_wrong(files: SliceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left in place it could never be stored again."""
    write(files, CLIP)

    def fail(*_args: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(WrongSlice):
        files.open(CLIP.key(), CLIP.meta)


@pytest.mark.parametrize("call", ["open", "writev", "close"])
def test_a_failed_write_leaves_nothing(
    files: SliceFiles, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(os, call)

    def fail(*args: object) -> None:
        if call == "close":
            real(*args)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            files.write(CLIP.key(), CLIP.meta, CLIP.data())
    assert slice_files(files._directory) == []
    assert not (files._directory / "writing").exists()
    write(files, CLIP)
    assert read(files, CLIP) == CLIP.data()


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gets full, and a limit on the file's size, show so."""
    writev = os.writev

    def three_bytes(fd: int, parts: list[memoryview]) -> int:
        return writev(fd, [b"".join(parts)[:3]])

    monkeypatch.setattr(os, "writev", three_bytes)
    with (tmp_path / "file").open("wb") as file:
        write_all(file.fileno(), [b"abcde", memoryview(b"fgh"), bytearray(b"i")])
    assert (tmp_path / "file").read_bytes() == b"abcdefghi"


def test_half_written_files_are_dropped_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "writing").write_bytes(b"half")
    SliceFiles(tmp_path, SIZE).prepare()
    assert not (tmp_path / "writing").exists()


def test_empty_folders_of_another_slice_size_go(files: SliceFiles) -> None:
    write(files, CLIP)
    other = SliceFiles(files._directory, SIZE * 2)
    other.prepare()
    assert len(slice_files(files._directory)) == 1
    files.unlink([files.name(CLIP.key())])
    other.prepare()
    assert names(files._directory) == [f"v2-{SIZE * 2}"]


def test_all_slices_are_found_and_nothing_else(files: SliceFiles) -> None:
    write(files, CLIP, 0)
    write(files, CLIP, 1)
    older = SliceFiles(files._directory, SIZE * 2)
    older.prepare()
    older.write(CLIP.key(0), CLIP.meta, CLIP.data())
    for other in ("cache.db", f"v2-{SIZE}/ab/notes.txt", f"v2-{SIZE}/stray", "holiday/ab/x-1"):
        path = files._directory / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    cost = slice_cost(files.length(CLIP.meta, CLIP.data()))
    found = [name for place in files.prepare() for name in files.all(place)]
    assert files.costs(found) == {
        files.name(CLIP.key(0)): cost,
        files.name(CLIP.key(1)): cost,
        older.name(CLIP.key(0)): cost,
    }


NO_SLICES = [
    f"v2-{SIZE}/ab/{'ab' * 16}-1\n",
    f"v2-{SIZE}/ab/{'ab' * 16}-1\nv2-{SIZE}/ab/{'ab' * 16}-2",
    f"v2-{SIZE}/ab/{'ac' * 16}-1",
    f"v2-{SIZE}/ab/{'ab' * 16}-01",
    f"v2-{SIZE}/ab/{'ab' * 16}-1234567890",
    f"v2-{SIZE}/ab/{'AB' * 16}-1",
    f"v2-{2 * SIZE}/ab/{'ab' * 16}-1",
    "\n",
    "",
]


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("name", [*NO_SLICES, None])
def test_rows_are_looked_at_together_and_told_one_by_one(
    files: SliceFiles, monkeypatch: pytest.MonkeyPatch, name: str | None, place: int
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 3)
    keys = [SliceKey(f"{number:x}b" * 16, number * 10**8) for number in range(5)]
    rows = [(files.name(key), BLOCK * number, number, 0.5) for number, key in enumerate(keys)]
    if name is not None:
        rows.insert(place, (name, 1, 2, 3.0))
    others: list[str] = []
    found = list(files.slices(rows, others))
    assert found == [
        (name_of(key), slice_cost(BLOCK * number), number, 0.5) for number, key in enumerate(keys)
    ]
    assert others == ([] if name is None else [name])


def test_what_is_gone_can_be_unlinked(files: SliceFiles) -> None:
    file = write(files, CLIP)
    name = files.name(CLIP.key())
    (files._directory / "lock").touch()
    files.unlink([name, name, f"v2-{SIZE}/zz/none-0", "lock"])
    assert not file.exists()
    assert (files._directory / "lock").exists()
    assert files.costs([name]) == {}


@pytest.mark.parametrize(
    ("length", "blocks"), [(1, 1), (BLOCK, 1), (BLOCK + 1, 2), (2**20, 256), (2**20 + 90, 257)]
)
def test_a_file_costs_whole_blocks(length: int, blocks: int, tmp_path: Path) -> None:
    before = disk_use(tmp_path)
    (tmp_path / "file").write_bytes(bytes(length))
    assert blocks * BLOCK <= slice_cost(length) < (blocks + 1) * BLOCK
    assert disk_use(tmp_path) - before <= slice_cost(length)
