"""The bound, where other processes hold removed slices open for a while."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgecache.store.disk import DiskStore
from edgecache.store.lingering import Lingering
from edgecache.store.room import slack
from tests.conftest import FakeClock
from tests.slices import SIZE, Removals, slice_files, sliced
from tests.store.support import CLIP, COST, Make, patch_os, restarted
from tests.store.test_bound import Gauge
from tests.store.test_disk import put, read
from tests.waiting import until

LINGER = 2.0
LIMIT = 4 * 2**20


def test_sizes_count_until_their_time_is_over(clock: FakeClock) -> None:
    lingering = Lingering(2.0, clock=clock)
    lingering.add(100)
    clock.advance(1)
    lingering.add(20)
    assert lingering.size == 120
    clock.advance(1)
    assert lingering.size == 20
    clock.advance(1)
    assert lingering.size == 0


def test_without_others_nothing_counts(clock: FakeClock) -> None:
    lingering = Lingering(0.0, clock=clock)
    lingering.add(100)
    assert lingering.size == 0


@pytest.mark.parametrize(
    ("limit", "slice_size", "expected"),
    [(2**20, 2**20, 2**18), (2**26, 2**20, 4 * (2**20 + 4096 + 64)), (2**34, 2**20, 2**34 // 50)],
)
def test_the_slack(limit: int, slice_size: int, expected: int) -> None:
    assert slack(limit, slice_size) == expected


class Others(Gauge):
    """Other processes that open each slice as soon as it is there, and see now and then what is
    gone. Their share is measured with the folder's."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()
        super().__init__(directory, monkeypatch)

    def measure(self) -> int:
        with self._lock:
            self._look()
            stats = map(os.fstat, self._open.values())
            held = sum(found.st_blocks * 512 for found in stats if not found.st_nlink)
        return super().measure() + held

    def _look(self) -> None:
        for file in slice_files(self.directory):
            descriptor = os.open(file, os.O_RDONLY)
            inode = os.fstat(descriptor).st_ino
            if inode in self._open:
                self._close(descriptor)
            else:
                self._open[inode] = descriptor

    def release(self) -> None:
        with self._lock:
            for inode, descriptor in list(self._open.items()):
                if not os.fstat(descriptor).st_nlink:
                    self._close(self._open.pop(inode))

    def _close(self, descriptor: int) -> None:
        self.unwrapped_close(descriptor)

    def close(self) -> None:
        for descriptor in self._open.values():
            self._close(descriptor)


class Bench:
    def __init__(self, store: DiskStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.next = 0
        store._lingering._clock = clock

    async def put(self) -> bool:
        self.next += 1
        return await put(self.store, CLIP, self.next - 1)

    async def fill(self) -> None:
        """Until a slice more would cost one."""
        while self.store._ledger.size + COST <= self.store._room.budget():
            assert await self.put()

    async def crowd(self) -> int:
        """Until a slice is refused; how many were not."""
        count = 0
        while await self.put():
            count += 1
        return count


@pytest.fixture
async def bench(make: Make, clock: FakeClock) -> AsyncIterator[Bench]:
    store = make(limit=LIMIT, linger=LINGER)
    bench = Bench(store, clock)
    await store.start()
    yield bench
    await bench.store.close()


async def churn(store: DiskStore, others: Others, clock: FakeClock, seed: int) -> int:
    """Slices of many sizes, slow readers; the others look once in `LINGER`. How many were put."""
    choose = random.Random(seed)
    readers: list[object] = []
    stored = 0

    async def one(number: int) -> int:
        length = choose.choice([100, 5000, SIZE, SIZE + 77])
        clip = sliced(f"{seed}-{number}.mp4", length=length)
        await store.save_meta(clip.meta)
        done = [await put(store, clip, piece) for piece in range(-(-length // SIZE))]
        readers.append(await store.open(clip.key(), clip.meta))
        assert store.size <= store.limit
        return sum(done)

    for step in range(20):
        clock.advance(LINGER / 4)
        if step % 4 == 0:
            others.release()
        stored += sum(await asyncio.gather(*(one(step * 10 + number) for number in range(10))))
        if step % 3 == 0:
            readers.clear()
    return stored


@pytest.mark.parametrize("limit", [2 * 2**20, 3 * 2**20])
async def test_the_bound_is_never_overshot(
    make: Make, directory: Path, limit: int, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(limit=limit, linger=LINGER)
    store._lingering._clock = clock
    await store.start()
    others = Others(directory, monkeypatch)
    stored = await churn(store, others, clock, seed=1)
    assert limit // 2 < others.most <= limit
    assert stored > store.slices + 20  # it goes on, too
    assert store.trouble() == ""
    await store.close()
    others.close()


async def test_without_linger_others_would_overshoot_it(
    make: Make, directory: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above can see."""
    store = make(limit=2 * 2**20)
    await store.start()
    others = Others(directory, monkeypatch)
    await churn(store, others, clock, seed=1)
    assert others.most > store.limit
    await store.close()
    others.close()


async def test_what_would_need_more_room_than_lingers_is_refused(
    bench: Bench, removals: Removals
) -> None:
    store = bench.store
    await bench.fill()
    full = store.slices
    assert await bench.crowd() >= 3
    evicted, held = len(removals.seen), store._room.held
    assert store._room.slack - COST < held
    assert store.size <= LIMIT
    for _ in range(10):
        assert not await bench.put()
    assert (len(removals.seen), store._room.held, store.slices) == (evicted, held, full)
    bench.clock.advance(LINGER)
    assert store.size < LIMIT - held
    assert await bench.put()
    assert store.trouble() == ""


async def test_fifty_at_once_evict_no_more_than_one_after_the_other(
    bench: Bench, removals: Removals
) -> None:
    await bench.fill()
    puts = await asyncio.gather(*(bench.put() for _ in range(50)))
    assert sum(puts) >= 3
    assert len(removals.seen) * COST == bench.store._room.held <= bench.store._room.slack
    assert bench.store._room.leaving == 0


async def test_what_needs_no_eviction_is_not_refused(bench: Bench) -> None:
    await bench.fill()
    await bench.crowd()
    clip = sliced("small.mp4", length=10)
    small = bench.store._room.budget() - bench.store._ledger.size
    assert small < COST
    for number in range(3):
        bench.store.discard(CLIP.meta.version, range(at := bench.next - 10 - number, at + 1))
    await until(lambda: not bench.store._writer.unswept)
    assert not await bench.put()  # they linger, too
    bench.clock.advance(LINGER)
    assert await bench.put()
    assert await put(bench.store, clip)


async def test_what_was_read_here_lingers_from_when_it_is_closed(bench: Bench) -> None:
    store = bench.store
    assert await bench.put()
    reader = await store.open(CLIP.key(0), CLIP.meta)
    store.discard(CLIP.meta.version, range(1))
    await until(lambda: not store._writer.unswept)
    bench.clock.advance(LINGER)
    assert (store._open.unlinked, store._room.held) == (COST, 0)
    del reader
    assert (store._open.unlinked, store._room.held) == (0, COST)
    bench.clock.advance(LINGER)
    assert store._room.held == 0


async def test_a_write_that_fails_leaves_the_books_right(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bench.store
    await bench.fill()
    with monkeypatch.context() as patched:
        patch_os(patched, "writev")
        assert not await bench.put()
    await until(lambda: not store._writer.unswept)
    assert store._room.leaving == 0
    assert store._room.held == COST  # what went for it
    assert store.size <= LIMIT
    bench.clock.advance(LINGER)
    assert await bench.put()


async def test_the_next_process_goes_by_what_the_last_may_have_removed(
    bench: Bench, make: Make
) -> None:
    await bench.fill()
    bench.store = store = await restarted(bench.store, make, limit=LIMIT, linger=3600)
    assert store._room.held == store._room.slack
    assert store.size <= LIMIT
    while store._ledger.size + COST <= store._room.budget():
        assert await bench.put()
    assert not await bench.put()
    assert await read(store, CLIP) == CLIP.data()


async def test_stored_responses_wait_for_room_too(bench: Bench) -> None:
    await bench.fill()
    await bench.crowd()
    assert await bench.store.save_meta(CLIP.meta)
    bench.store._lingering.add(bench.store._room.slack)
    assert not await bench.store.save_meta(CLIP.meta)
    bench.clock.advance(LINGER)
    assert await bench.store.save_meta(CLIP.meta)
