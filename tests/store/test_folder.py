import errno
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgecache.core.errors import StoreError
from edgecache.core.model import SliceKey
from edgecache.core.policy import Loaded, key_of
from edgecache.store import folder as module
from edgecache.store.files import WrongSlice, slice_cost
from edgecache.store.folder import CHANGE, Contents, FolderInUse, SliceFolder
from tests.slices import SIZE, Sliced, disk_use, slice_files, sliced

CLIP = sliced(length=4 * SIZE)
COST = slice_cost(SIZE + 200)
NONE: list[str] = []


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SliceFolder]:
    folder = SliceFolder(tmp_path / "cache", limit=2**30, slice_size=SIZE)
    assert folder.attach() == Contents(0, [], [], 0)
    yield folder
    folder.close()


def write(folder: SliceFolder, clip: Sliced = CLIP, number: int = 0, gone: list[str] = NONE) -> str:
    folder.write(gone, clip.key(number), clip.meta, clip.data(number))
    return folder.files.name(clip.key(number))


def attached(folder: SliceFolder) -> Contents:
    folder.close()
    return folder.attach()


class Slice(NamedTuple):
    key: SliceKey
    size: int


def slices_of(folder: SliceFolder) -> list[Slice]:
    """What is there to load."""
    slices: list[Slice] = []

    def load(found: Iterable[Loaded], _age: float, _pinned: Container[str]) -> int:
        slices[:] = (Slice(key_of(name), size) for name, size, _, _ in found)
        return len(slices)

    folder.close()
    assert folder.attach(load).slices == len(slices)
    return slices


def never(_name: str) -> bool:
    return False


def strays(folder: SliceFolder) -> dict[str, int]:
    """What a server that has just started sweeps."""
    contents = attached(folder)
    names = {folder.files.name(one.key) for one in slices_of(folder)}
    found = dict.fromkeys(contents.others, 0)
    for place in contents.places:
        found |= folder.strays(place, names.__contains__)
    return found


def test_it_is_made_for_its_owner_only(folder: SliceFolder, tmp_path: Path) -> None:
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_what_is_written_is_there_after_a_restart(folder: SliceFolder) -> None:
    for number in (2, 0, 1):
        write(folder, number=number)
    folder.save_meta(CLIP.meta)
    contents = attached(folder)
    shard = Path(folder.files.name(CLIP.key())).parent
    assert contents.places == [str(shard)]
    slices = slices_of(folder)
    assert [one.key for one in slices] == [CLIP.key(n) for n in (2, 0, 1)]
    assert {one.size for one in slices} == {COST}
    assert folder.other_versions(lambda _version: False) == [CLIP.meta.version]
    assert folder.other_versions(CLIP.meta.version.__eq__) == []
    assert folder.index.load_meta(CLIP.meta.key) == CLIP.meta
    folder.index.close_reader()


def test_what_is_gone_is_off_the_disk_before_the_new_slice_is_on_it(
    folder: SliceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [write(folder, number=0), write(folder, number=1)]
    writev = os.writev
    seen = []

    def watch(fd: int, parts: list[memoryview]) -> int:
        seen.append(slice_files(folder._directory))
        return writev(fd, parts)

    monkeypatch.setattr(os, "writev", watch)
    write(folder, number=2, gone=gone)
    assert seen == [[]]
    assert [one.key for one in slices_of(folder)] == [CLIP.key(2)]


def test_two_servers_do_not_share_a_folder(folder: SliceFolder, tmp_path: Path) -> None:
    second = SliceFolder(tmp_path / "cache", limit=2**30, slice_size=SIZE)
    with pytest.raises(FolderInUse, match="in use by another server") as error:
        second.attach()
    assert str(tmp_path / "cache") in error.value.hint
    folder.close()
    second.attach()
    second.close()


def test_a_file_system_without_locks_is_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", fail)
    folder = SliceFolder(tmp_path, limit=2**30, slice_size=SIZE)
    with pytest.raises(StoreError, match="No locks available"):
        folder.attach()
    assert not folder.usable


def test_a_failed_write_removes_what_was_to_go_all_the_same(
    folder: SliceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = write(folder, number=0)
    write(folder, number=1)

    def fail(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", fail)
        with pytest.raises(StoreError, match="No space left on device"):
            write(folder, number=2, gone=[gone])
    assert [one.key for one in slices_of(folder)] == [CLIP.key(1)]
    assert strays(folder) == {}


def test_a_row_that_cannot_be_written_takes_its_file_with_it(folder: SliceFolder) -> None:
    folder.index.close()
    with pytest.raises(StoreError):
        write(folder)
    assert slice_files(folder._directory) == []


def test_files_without_a_row_are_found_with_what_they_take(folder: SliceFolder) -> None:
    """Killed between the file and the row."""
    folder.files.write(CLIP.key(3), CLIP.meta, CLIP.data(3))
    name = write(folder)
    orphan = folder.files.name(CLIP.key(3))
    assert strays(folder) == {orphan: COST}
    folder.remove([orphan], never)
    assert [path.name for path in slice_files(folder._directory)] == [Path(name).name]


def test_rows_are_believed_until_their_file_is_opened(folder: SliceFolder) -> None:
    """Killed between the file and the row of what goes."""
    name = write(folder)
    folder.files.unlink([name])
    assert [(one.key, one.size) for one in slices_of(folder)] == [(CLIP.key(), COST)]
    with pytest.raises(WrongSlice):
        folder.files.open(CLIP.key(), CLIP.meta)
    folder.remove([name], never)
    assert attached(folder).slices == 0


def test_what_has_become_a_slice_again_is_not_removed(folder: SliceFolder) -> None:
    name = write(folder)
    folder.remove([name], lambda _name: True)
    assert len(slice_files(folder._directory)) == 1


def test_slices_of_another_size_are_left_over(folder: SliceFolder, tmp_path: Path) -> None:
    """Number 1 of one size is not number 1 of the other."""
    name = write(folder)
    folder.close()
    other = SliceFolder(tmp_path / "cache", limit=2**30, slice_size=SIZE * 2)
    assert other.attach().slices == 0
    assert strays(other) == {name: COST}
    other.close()


def test_nothing_outside_is_touched_whatever_the_rows_say(
    folder: SliceFolder, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("!")
    for name in (str(precious), "../precious", f"v2-{SIZE}/../../precious"):
        folder.index.add(name, 1, gone=())
    contents = attached(folder)
    assert (contents.slices, len(contents.others)) == (0, 3)
    folder.remove(contents.others, never)
    assert precious.exists()
    assert attached(folder) == Contents(0, [], [], 0)


def test_its_footprint_is_what_is_no_slice(folder: SliceFolder) -> None:
    for number in range(4):
        write(folder, number=number)
    folder.save_meta(CLIP.meta)
    slices = sum(path.stat().st_blocks * 512 for path in slice_files(folder._directory))
    assert 0 <= folder.footprint - (disk_use(folder._directory) - slices) <= 4096


def test_the_log_grows_by_what_was_foretold(tmp_path: Path) -> None:
    folder = SliceFolder(tmp_path, limit=2**20, slice_size=SIZE)
    folder.attach()
    before, foretold = folder.footprint, folder.growth
    for _ in range(50):
        folder.probe()
    assert folder.footprint <= before + foretold + CHANGE // 10
    folder.close()


def test_some_of_the_disk_stays_free(folder: SliceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """For SQLite: on a disk that is full to the brim it can neither delete nor start."""
    monkeypatch.setattr(module, "HEADROOM", 2**60)
    with pytest.raises(StoreError, match="No space left"):
        write(folder)
    with pytest.raises(StoreError, match="No space left"):
        folder.save_meta(CLIP.meta)
    with pytest.raises(StoreError, match="No space left"):
        folder.probe()
    assert slice_files(folder._directory) == []
    folder.remove_meta(CLIP.meta.key)


def test_probing_finds_out_what_fails(folder: SliceFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.probe()

    def fail(*_args: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(folder.files, "probe", fail)
    with pytest.raises(StoreError, match="Read-only file system"):
        folder.probe()
