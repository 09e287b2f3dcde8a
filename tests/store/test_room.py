"""`min_free`: what the cache leaves of a disk that others fill too."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecache.store.disk import DiskStore
from edgecache.store.folder import HEADROOM
from tests.slices import Removals, disk_use, sliced
from tests.store.support import CLIP, Make, restarted
from tests.store.test_bound import Gauge, churn
from tests.store.test_disk import put, read
from tests.waiting import until

DISK = 32 * 2**20
MIN_FREE = 8 * 2**20
LIMIT = 64 * 2**20  # more than there is


@dataclass
class SmallDisk:
    """A file system that holds the cache folder, and what others put on it."""

    directory: Path
    others: int = 0

    @property
    def free(self) -> int:
        held = disk_use(self.directory) if self.directory.exists() else 0
        return DISK - self.others - held

    def statvfs(self, _: object) -> SimpleNamespace:
        return SimpleNamespace(
            f_bavail=self.free // 4096,
            f_frsize=4096,
            f_blocks=DISK // 4096,
            f_flag=0,
            f_files=0,
        )


@pytest.fixture
def disk(directory: Path, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    disk = SmallDisk(directory)
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


async def filled(make: Make, *, slices: int) -> DiskStore:
    store = make(limit=LIMIT, min_free=MIN_FREE)
    await store.start()
    for number in range(slices):
        await put(store, CLIP, number)
    return store


async def looked(store: DiskStore) -> None:
    """After a look at the disk, and all that it asks for."""
    await store._upkeep.look()
    await until(lambda: not store._evicting and not store._writer.unswept)


async def test_what_is_to_stay_free_stays_free(
    make: Make, directory: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(limit=LIMIT, min_free=MIN_FREE)
    await store.start()
    gauge = Gauge(directory, monkeypatch)
    for seed in range(2):
        await churn(store, seed)
    assert gauge.times > 100
    assert (DISK - MIN_FREE) // 2 < gauge.most <= DISK - MIN_FREE
    assert store.pressure > 0
    assert store.trouble() == ""
    await store.close()


async def test_what_others_take_the_cache_gives_back(
    make: Make, disk: SmallDisk, removals: Removals
) -> None:
    store = await filled(make, slices=100)
    assert store.pressure > 0
    held = store.slices
    disk.others = DISK - MIN_FREE - 4 * 2**20
    await looked(store)
    assert 0 < store.slices < held
    assert disk.free >= MIN_FREE
    assert store.trouble() == ""
    disk.others = 0
    await looked(store)
    for number in range(200, 300):
        assert await put(store, CLIP, number)
    assert store.slices > 100
    assert disk.free >= MIN_FREE
    await store.close()


async def test_a_disk_that_fills_between_two_looks_is_not_written_to(
    make: Make, disk: SmallDisk
) -> None:
    store = await filled(make, slices=100)
    disk.others = disk.free - MIN_FREE
    assert not await put(store, CLIP, 199)
    assert not await store.save_meta(sliced("new.mp4").meta)
    assert disk.free >= MIN_FREE
    assert await read(store, CLIP, 98) == CLIP.data(98)
    assert store.trouble() == ""
    await looked(store)
    assert await put(store, CLIP, 199)
    assert disk.free >= MIN_FREE
    await store.close()


async def test_where_others_leave_nothing_it_says_so_until_they_do(
    make: Make, disk: SmallDisk
) -> None:
    store = await filled(make, slices=10)
    disk.others = DISK - MIN_FREE
    await looked(store)
    assert store.slices == 0
    assert "cache.min_free" in store.trouble()
    assert not await put(store, CLIP, 99)
    disk.others = 0
    await looked(store)
    assert store.trouble() == ""
    assert await put(store, CLIP, 99)
    await store.close()


async def test_a_disk_that_is_full_is_trouble(make: Make, disk: SmallDisk) -> None:
    store = make(limit=LIMIT)
    await store.start()
    disk.others = disk.free - HEADROOM // 2
    assert not await put(store, CLIP, 1)
    assert store.trouble() == "No space left on device"
    await store.close()


async def test_a_start_on_a_disk_that_was_filled_gives_way(make: Make, disk: SmallDisk) -> None:
    store = await filled(make, slices=100)
    held = store.slices
    disk.others = DISK - MIN_FREE - 4 * 2**20
    store = await restarted(store, make, limit=LIMIT, min_free=MIN_FREE)
    await until(lambda: not store._evicting and not store._writer.unswept)
    assert 0 < store.slices < held
    assert disk.free >= MIN_FREE
    await store.close()


async def test_it_looks_by_itself(
    make: Make, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecache.store.upkeep.LOOK_EVERY", 0.01)
    store = await filled(make, slices=10)
    disk.others = DISK - MIN_FREE
    await until(lambda: store.slices == 0)
    await store.close()


@pytest.mark.parametrize("late", [False, True], ids=["loop in time", "loop late"])
async def test_writes_under_way_count_once(
    make: Make, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """A look between them sees those that are written, and knows of the others; also where the
    loop hears of it when all are."""
    store = await filled(make, slices=0)
    looks: list[int] = []
    look = store._room.look

    def noted(slices: int, spare: int, footprint: int) -> None:
        look(slices, spare, footprint)
        looks.append(store.limit - store.pressure)

    monkeypatch.setattr(store._room, "look", noted)
    puts = [put(store, CLIP, number) for number in range(20)]
    mixed = [call for one in puts for call in (one, store._upkeep.look())]
    going = asyncio.gather(*mixed)
    await asyncio.sleep(0)  # all are asked for
    if late:
        store._writer._thread.submit(int).result()  # the loop stands still until they are done
    await going
    most = DISK - MIN_FREE
    assert len(looks) == 20
    assert all(most - 2**17 <= look <= most + 2**17 for look in looks)
    await store.close()
