"""Wrong files and rows are misses, and counted; never a wrong byte, never an exception."""

import asyncio
import errno
import os
import pickle  # noqa: TID251  # to plant what must never be read
import random
import shutil
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.core.model import Removal
from edgecache.store.disk import DiskStore
from tests.slices import SIZE, Removals, slice_files, sliced
from tests.store.support import CLIP, COST, Make, have_nothing_in_memory, patch_os, plant, restarted
from tests.store.test_disk import put, read
from tests.store.test_files import AWAY, DAMAGES
from tests.store.test_index import scribble
from tests.store.test_rows import Payload
from tests.waiting import until


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_slice_is_a_miss_and_counted_and_can_be_put_again(
    store: DiskStore,
    make: Make,
    directory: Path,
    removals: Removals,
    damage: str,
) -> None:
    await put(store, CLIP)
    DAMAGES[damage](slice_files(directory)[0])
    assert await read(store, CLIP) is None
    assert not store.has(CLIP.key())
    reason = Removal.MISSING if damage in AWAY else Removal.CORRUPT
    assert removals.seen == [(reason, COST)]
    if damage != "a folder":
        assert await put(store, CLIP)
        assert await read(store, CLIP) == CLIP.data()
    else:
        assert not await put(store, CLIP)
        assert store.trouble()


async def test_opened_by_many_at_once_a_damaged_slice_counts_once(
    store: DiskStore, directory: Path, removals: Removals
) -> None:
    await put(store, CLIP)
    os.truncate(slice_files(directory)[0], 10)
    assert await asyncio.gather(*(read(store, CLIP) for _ in range(20))) == [None] * 20
    assert removals.reasons == [Removal.CORRUPT]


async def test_after_a_power_cut_the_log_does_not_fill_with_damaged_slices(
    store: DiskStore, directory: Path, removals: Removals, caplog: pytest.LogCaptureFixture
) -> None:
    """File data of the last half minute is not on the disk then, the rows are."""
    for number in range(20):
        await put(store, CLIP, number)
    for file in slice_files(directory):
        os.truncate(file, 0)
    for number in range(20):
        assert await read(store, CLIP, number) is None
    assert len(removals.seen) == 20
    assert len(caplog.records) == 1


async def test_a_slice_cut_while_it_is_open_is_an_error_then_a_miss(
    store: DiskStore, directory: Path, removals: Removals
) -> None:
    await put(store, CLIP)
    opened = await store.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    os.truncate(slice_files(directory)[0], 1000)
    assert opened.read_nowait(0, SIZE) is None
    with pytest.raises(StoreError, match="cut short"):
        await opened.read(0, SIZE)
    assert removals.reasons == [Removal.CORRUPT]
    assert await read(store, CLIP) is None
    assert await put(store, CLIP)
    assert await read(store, CLIP) == CLIP.data()


async def test_a_shortage_of_descriptors_is_a_miss_that_passes(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, removals: Removals
) -> None:
    await put(store, CLIP)
    with monkeypatch.context() as patch:
        have_nothing_in_memory(patch)
        patch_os(patch, "open", errno.EMFILE)
        assert await read(store, CLIP) is None
    assert await read(store, CLIP) == CLIP.data()
    assert removals.seen == []


async def test_planted_rows_never_run_and_are_counted(
    store: DiskStore,
    make: Make,
    directory: Path,
    removals: Removals,
    tmp_path: Path,
) -> None:
    pickled = pickle.dumps(Payload(tmp_path / "marker"))
    await put(store, CLIP)
    await store.save_meta(CLIP.meta)
    plant(directory, "UPDATE Cache SET mode = 4, value = ?", pickled)
    plant(directory, "INSERT INTO Cache (key, raw, mode) VALUES (?, 0, 4)", pickled)
    assert await store.load_meta(CLIP.meta.key) is None
    assert removals.seen == [(Removal.CORRUPT, 0)]
    store = await restarted(store, make)
    assert store.slices == 0
    assert await store.load_meta(CLIP.meta.key) is None
    assert set(removals.reasons) == {Removal.CORRUPT}
    assert not (tmp_path / "marker").exists()
    await store.close()


async def test_a_damaged_stored_response_is_a_miss_once(
    store: DiskStore, directory: Path, removals: Removals
) -> None:
    await store.save_meta(CLIP.meta)
    plant(directory, "UPDATE Cache SET value = replace(value, 'video/mp4', 'text/html')")
    assert [await store.load_meta(CLIP.meta.key) for _ in range(3)] == [None] * 3
    assert removals.reasons == [Removal.CORRUPT]
    assert await store.save_meta(CLIP.meta)
    assert await store.load_meta(CLIP.meta.key) == CLIP.meta


@pytest.mark.parametrize("garbage", [b"", bytes(50_000), b"garbage " * 5000])
async def test_an_index_that_cannot_be_read_is_no_reason_not_to_start(
    store: DiskStore, make: Make, directory: Path, garbage: bytes
) -> None:
    await put(store, CLIP)
    await store.close()
    (directory / "cache.db").write_bytes(garbage)
    store = await restarted(store, make)
    assert (store.slices, store.trouble()) == (0, "")
    assert await put(store, CLIP)
    assert await read(store, CLIP) == CLIP.data()
    await store.close()


async def test_an_index_lost_while_running_is_replaced_without_a_request(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And until then what is stored is served: slices need no index to be read."""
    for number in range(100):
        await put(store, CLIP, number)
    store._writer.interval = 0.0
    await store._writer.change(store._folder.index._cache.close)  # and what it has in memory
    scribble(directory / "cache.db")
    assert not await put(store, CLIP, 100)
    assert store.trouble().startswith("index: ")
    assert await read(store, CLIP, 5) == CLIP.data(5)
    await until(lambda: not store.trouble())
    assert not store.has(CLIP.key(5))
    await until(lambda: not slice_files(directory))
    assert await put(store, CLIP)
    assert await read(store, CLIP) == CLIP.data()


async def test_a_deleted_folder_costs_what_was_in_it(store: DiskStore, directory: Path) -> None:
    await put(store, CLIP)
    shutil.rmtree(directory)
    assert await read(store, CLIP) is None
    await put(store, CLIP)


def damage(file: Path, choose: random.Random) -> None:
    """As a bad disk, a bad copy or a bad hand would."""
    length = file.stat().st_size
    with file.open("r+b") as data:
        data.seek(choose.randrange(length))
        match choose.randrange(4):
            case 0:
                data.truncate()
            case 1:
                data.write(bytes(4096))
            case 2:
                data.write(choose.randbytes(4096))
            case _:
                data.seek(0, os.SEEK_END)
                data.write(choose.randbytes(4096))


def damage_index(directory: Path, choose: random.Random) -> None:
    """Database, log or both, while they are in use."""
    files = [directory / "cache.db", directory / "cache.db-wal"]
    for file in choose.sample(files, choose.randint(1, len(files))):
        damage(file, choose)


@pytest.mark.parametrize("seed", range(8))
async def test_a_damaged_index_is_got_over_whatever_the_damage(
    make: Make, directory: Path, seed: int
) -> None:
    store = make()
    await store.start()
    for number in range(40):
        await put(store, CLIP, number)
        await store.save_meta(sliced(f"{number}.mp4").meta)
    damage_index(directory, random.Random(seed))
    store = await restarted(store, make)
    store._writer.interval = 0.0
    for number in range(60):
        await put(store, CLIP, number)
        assert await read(store, CLIP, number) in (CLIP.data(number), None)
        clip = sliced(f"{number}.mp4")
        assert await store.load_meta(clip.meta.key) in (clip.meta, None)
    await until(lambda: not store.trouble())
    assert await put(store, CLIP, 99)
    assert await read(store, CLIP, 99) == CLIP.data(99)
    await store.close()
