"""Each kind of damage is found and named, and nothing that a running server does looks like it."""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.store import verifying
from edgecache.store.disk import DiskStore
from edgecache.store.files import SliceFiles
from edgecache.store.slice_check import Checked, check
from edgecache.store.verifying import Damage, Report, Verification
from tests.slices import SIZE, Sliced, slice_files, sliced
from tests.store.support import patch_os, plant

CLIP = sliced("clip.mp4", length=3 * SIZE + 5)
OTHER = sliced("other.mp4", length=SIZE)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment is long enough for a test's server."""
    monkeypatch.setattr(verifying, "SETTLED", 0.3)


async def fill(store: DiskStore, *objects: Sliced) -> None:
    for one in objects:
        for number in range(-(-one.meta.length // SIZE)):
            assert await store.put(one.key(number), one.meta, one.data(number))
        assert await store.save_meta(one.meta)


def age(directory: Path) -> None:
    """What lies there was written a while ago."""
    for path in slice_files(directory):
        os.utime(path, (1, 1))


def found(directory: Path, **options: int) -> tuple[Report, list[Damage]]:
    damage: list[Damage] = []
    with closing(Verification(directory, slice_size=SIZE, **options)) as verification:
        return verification.run(damage.append), damage


def file_of(directory: Path, one: Sliced, number: int = 0) -> Path:
    return directory / SliceFiles(directory, SIZE).name(one.key(number))


async def test_a_sound_folder(store: DiskStore, directory: Path) -> None:
    await fill(store, CLIP, OTHER)
    length = sum(path.stat().st_size for path in slice_files(directory))
    assert found(directory) == (Report(ok=5, bytes=length), [])
    await store.close()
    assert found(directory, threads=1) == (Report(ok=5, bytes=length), [])


async def test_progress_and_what_to_expect(store: DiskStore, directory: Path) -> None:
    await fill(store, CLIP)
    read: list[int] = []
    with closing(Verification(directory, slice_size=SIZE)) as verification:
        count, size = verification.expected()
        verification.run(on_read=read.append)
    assert (count, size) == (len(read), sum(read))


def cut(path: Path) -> None:
    os.truncate(path, 100)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    os.truncate(path, 10**9)  # it is not read: no memory could be bounded


def make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hosts")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "harm", [cut, flip, empty, grow, make_link, make_folder, make_pipe], ids=lambda f: f.__name__
)
async def test_damage_is_found_and_named(
    store: DiskStore, directory: Path, harm: Callable[[Path], None]
) -> None:
    await fill(store, CLIP, OTHER)
    path = file_of(directory, CLIP, 2)
    harm(path)
    report, damage = found(directory)
    assert (report.ok, report.damaged) == (4, 1)
    assert [(one.object, one.slice) for one in damage] == [(CLIP.meta.key, CLIP.key(2))]
    assert directory / damage[0].file == path
    assert damage[0].why


async def test_damage_that_nothing_names(store: DiskStore, directory: Path) -> None:
    assert await store.put(CLIP.key(), CLIP.meta, CLIP.data())  # without a stored response
    empty(file_of(directory, CLIP))
    _, damage = found(directory)
    assert (damage[0].object, damage[0].slice) == (None, CLIP.key())


async def test_one_object_under_anothers_name(store: DiskStore, directory: Path) -> None:
    await fill(store, CLIP, OTHER)
    file_of(directory, OTHER).write_bytes(file_of(directory, CLIP).read_bytes())
    _, damage = found(directory)
    assert [one.object for one in damage] == [OTHER.meta.key]


@pytest.mark.parametrize("harm", [None, flip, empty], ids=["sound", "flip", "empty"])
async def test_a_version_of_another_era_is_known_by_its_stored_response(
    store: DiskStore, directory: Path, harm: Callable[[Path], None] | None
) -> None:
    later = replace(CLIP, meta=replace(CLIP.meta, era=7))
    await fill(store, later)
    if harm:
        harm(file_of(directory, later))
    report, damage = found(directory)
    assert (report.ok, report.damaged) == ((3, 1) if harm else (4, 0))
    assert [one.object for one in damage] == ([CLIP.meta.key] if harm else [])


async def test_without_its_stored_response_it_is_known_by_its_header(
    store: DiskStore, directory: Path
) -> None:
    later = replace(CLIP, meta=replace(CLIP.meta, era=7))
    assert await store.put(later.key(), later.meta, later.data())
    assert found(directory)[0].ok == 1
    flip(file_of(directory, later))
    _, damage = found(directory)
    assert [one.object for one in damage] == [None]


async def test_a_disk_that_cannot_read(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, OTHER)
    await store.close()
    patch_os(monkeypatch, "pread", errno.EIO)
    _, damage = found(directory)
    assert [one.why for one in damage] == ["it cannot be read: Input/output error"]


async def test_rights_that_are_missing_are_no_damage(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, OTHER)
    await store.close()
    patch_os(monkeypatch, "pread", errno.EACCES)
    with pytest.raises(StoreError, match="Permission denied"):
        found(directory)


async def test_files_and_rows_without_one_another(
    store: DiskStore, directory: Path, settled: None
) -> None:
    await fill(store, CLIP, OTHER)
    await store.close()
    plant(
        directory, "DELETE FROM Cache WHERE key = ?", SliceFiles(directory, SIZE).name(CLIP.key())
    )
    file_of(directory, OTHER).unlink()
    file_of(directory, OTHER).parent.rmdir()
    age(directory)
    report, _ = found(directory)
    assert (report.ok, report.damaged, report.orphans, report.missing) == (4, 0, 1, 1)


async def test_what_is_just_being_written_or_removed_is_neither(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File first, row last; the other way round at the end."""
    await fill(store, CLIP, OTHER)
    await store.close()
    name = SliceFiles(directory, SIZE).name
    plant(directory, "DELETE FROM Cache WHERE key = ?", name(CLIP.key()))
    file_of(directory, OTHER).unlink()

    def sleep(seconds: float) -> None:
        assert 0 < seconds <= verifying.SETTLED
        plant(directory, "DELETE FROM Cache WHERE key = ?", name(OTHER.key()))

    monkeypatch.setattr(time, "sleep", sleep)
    report, _ = found(directory)
    assert (report.orphans, report.missing) == (0, 0)


async def test_more_rows_without_a_file_than_are_kept_in_mind(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, CLIP, OTHER)
    await store.close()
    for path in slice_files(directory):
        path.unlink()
    monkeypatch.setattr(verifying, "MOST_MISSING", 2)
    monkeypatch.setattr(verifying, "SETTLED", 0.01)
    assert found(directory)[0].missing == 5


async def test_what_is_of_another_format_is_only_counted(store: DiskStore, directory: Path) -> None:
    await fill(store, OTHER)
    path = file_of(directory, OTHER)
    for name in ("v2-999/ab/x", "v0-65536/cd/y"):
        (directory / name).parent.mkdir(parents=True)
        (directory / name).write_bytes(b"old")
    path.with_name("stray").write_bytes(b"")
    report, damage = found(directory)
    assert (report.ok, report.others, damage) == (1, 3, [])


async def test_a_slice_that_goes_or_is_replaced_meanwhile_is_no_damage(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch, settled: None
) -> None:
    await fill(store, CLIP, OTHER)
    going, replaced = file_of(directory, CLIP, 1), file_of(directory, CLIP, 2)
    good = replaced.read_bytes()
    flip(going)
    flip(replaced)

    def meanwhile(blob: bytes, number: int, slice_size: int) -> Checked:
        if going.exists():
            going.unlink()
            fresh = replaced.with_name("fresh")
            fresh.write_bytes(good)
            fresh.rename(replaced)
        return check(blob, number, slice_size)

    monkeypatch.setattr(verifying, "check", meanwhile)
    report, damage = found(directory, threads=1)
    assert (report.damaged, damage) == (0, [])
    assert report.ok >= 4


async def test_beside_a_server_that_writes_and_evicts(
    store: DiskStore, directory: Path, settled: None
) -> None:
    async def churn() -> None:
        for number in range(400):
            one = sliced(f"{number}.mp4", length=SIZE)
            await store.put(one.key(), one.meta, one.data())
            await store.save_meta(one.meta)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        churning = tasks.create_task(churn())
        while not churning.done():
            report, damage = await asyncio.to_thread(found, directory)
            assert (report.orphans, report.missing, damage) == (0, 0, [])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no cache folder"):
        found(tmp_path / "none")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert found(tmp_path) == (Report(), [])
