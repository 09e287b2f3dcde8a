"""What has to go at once is a lot, after a restart with less room: it goes bit by bit, behind."""

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from edgecache.store.disk import DiskStore
from edgecache.tasks import Tasks
from tests.slices import SIZE, Removals, slice_files
from tests.store.support import CLIP, Make, restarted
from tests.store.test_disk import put, read
from tests.waiting import until

MANY = 10_000
ROOM = 100 * 2**20


def plant(directory: Path, count: int) -> None:
    """Slices as they are after `put`, but for their bytes, which take a minute to write."""
    names = [
        f"v2-{SIZE}/{number % 256:02x}/{number % 256:02x}{number:030x}-0" for number in range(count)
    ]
    for shard in {name[: name.rindex("/")] for name in names}:
        (directory / shard).mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).touch()
    connection = sqlite3.connect(directory / "cache.db")
    with connection:
        connection.executemany(
            "INSERT INTO Cache"
            " (key, raw, store_time, access_time, access_count, size, mode, filename)"
            " VALUES (?1, 1, 0, 0, 0, ?2, 2, ?1)",
            ((name, SIZE) for name in names),
        )
    connection.close()


class Ticker:
    """The longest that the loop's thread worked without letting others have their turn.

    Its own time: how long it waits for a processor is not the store's to say.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now
            await asyncio.sleep(0.001)


async def test_answers_go_on_while_ten_thousand_slices_go(
    make: Make, directory: Path, removals: Removals
) -> None:
    store = make(limit=2**30)
    await store.start()
    await store.close()
    plant(directory, MANY)
    store = make(limit=2**30)
    await store.start()
    await put(store, CLIP, 7)
    store.used(CLIP.key(7), 100)
    assert store.slices == MANY + 1
    store = await restarted(store, make, limit=ROOM)
    ticker = Ticker()
    tasks = Tasks()
    tasks.spawn(ticker.run(), name="ticker")
    began, cpu = time.perf_counter(), time.process_time()
    reads = 0
    while store._evicting or store._writer.unswept or store._writer.is_looking:
        assert await read(store, CLIP, 7) == CLIP.data(7)
        reads += 1
        await asyncio.sleep(0.001)
    await tasks.close()
    print(
        f"{len(removals.seen)} in {time.perf_counter() - began:.2f} s, "
        f"{time.process_time() - cpu:.2f} s of processor, {reads} reads, "
        f"longest pause {ticker.longest * 1000:.1f} ms"
    )
    assert len(removals.seen) > MANY * 0.8
    assert len(slice_files(directory)) == store.slices > 100
    assert store.size <= ROOM
    assert reads > 10
    assert ticker.longest < 0.05
    assert await put(store, CLIP, 8)
    await store.close()


async def test_until_then_nothing_is_stored(
    make: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slice would wait for all that has to go."""
    monkeypatch.setattr("edgecache.store.disk.LOOKING", 0.0)
    store = make(limit=2**30)
    await store.start()
    await store.close()
    plant(directory, 2000)
    store = make(limit=20 * 2**20)
    await store.start()
    before = store.slices
    assert not await put(store, CLIP, 1)
    assert before - store.slices < 1000
    await until(lambda: not store._evicting and not store._writer.unswept)
    await until(lambda: not store._writer.is_looking)
    assert await put(store, CLIP, 1)
    await store.close()


async def test_of_what_is_not_stored_no_slice_is_looked_for(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge may be of many large objects of which nothing is here."""
    await put(store, CLIP)
    monkeypatch.setattr(store._ledger, "remove", lambda *_: pytest.fail("it was looked for"))
    store.discard("ab" * 16, range(100))
    assert store.has(CLIP.key())
