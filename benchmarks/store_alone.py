"""The store alone, without HTTP: puts of slices, and 10,000 evictions with hits beside them.

Rule of this module: what is called is what the server calls, in a process of its own.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.bucket import pieces
from benchmarks.servers import fresh
from benchmarks.steady import percentile, without_collections
from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.store.disk import DiskStore
from edgecache.store.reader import ReadStore
from edgecache.store.verified import SETTLED

KIB, MIB = 2**10, 2**20
PUTTING = 16  # puts at a time
SMALL = 64 * KIB
HIT_EVERY = 0.002  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Puts:
    """Milliseconds of a put; `alone`: with no other under way. `cpu`: microseconds of each."""

    length: int
    full: bool  # each evicts another
    rate: float
    megabytes: float
    p50: float
    p99: float
    alone: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evictions:
    """Milliseconds of hits at a steady rate, before and while slices are evicted."""

    slices: int
    seconds: float
    rate: float
    p99_before: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Openings:
    """Microseconds, in a worker: of a slice that it has not read yet, of the first read of all of
    it, and of its opening once more."""

    length: int
    first: float
    reading: float
    again: float


def meta_of(number: int, length: int) -> ObjectMeta:
    return ObjectMeta(
        key=ObjectKey("bench", f"outputs/{length}-{number}.webp"),
        etag=f'"{number:032x}"',
        origin_etag=f'"{number:032x}"',
        length=length,
        last_modified=None,
        date=None,
        request_time=0.0,
        response_time=0.0,
        headers=(("Content-Type", "image/webp"),),
    )


@asynccontextmanager
async def opened(folder: Path, limit: int) -> Any:
    store = DiskStore(folder, limit=limit, slice_size=MIB)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def put_all(store: DiskStore, numbers: range, length: int, at_once: int) -> list[float]:
    """Objects of one slice; the seconds of each put."""
    data = bytearray(b"".join(pieces(0, length)))
    left, took = iter(numbers), []

    async def putting() -> None:
        for number in left:
            meta = meta_of(number, length)
            began = time.perf_counter()
            if not await store.put(SliceKey(meta.version, 0), meta, data):
                raise SystemExit(f"the store did not take a slice: {store.trouble()}")
            took.append(time.perf_counter() - began)

    with without_collections():
        await asyncio.gather(*(putting() for _ in range(at_once)))
    return took


async def puts(folder: Path, length: int, count: int, full: bool) -> Puts:
    """With `full`, the cache is filled first."""
    limit = max(count * length // 2, 64 * MIB) if full else 2 * count * (length + 4 * KIB)
    limit += 32 * MIB
    before = limit // length if full else 0
    async with opened(fresh(folder), limit) as store:
        await put_all(store, range(before), length, PUTTING)
        cpu, began = time.process_time(), time.perf_counter()
        took = await put_all(store, range(before, before + count), length, PUTTING)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        last = before + count
        alone = await put_all(store, range(last, last + count // 10 + 1), length, 1)
    return Puts(
        length=length,
        full=full,
        rate=count / seconds,
        megabytes=count * length / seconds / 1e6,
        p50=percentile(took, 0.5),
        p99=percentile(took, 0.99),
        alone=percentile(alone, 0.5),
        cpu=cpu / count * 1e6,
    )


async def openings(folder: Path, length: int, count: int) -> Openings:
    """Of slices that the kernel has in memory."""
    async with opened(fresh(folder), 2 * count * (length + 4 * KIB) + 64 * MIB) as store:
        await put_all(store, range(count), length, PUTTING)
        await asyncio.sleep(SETTLED)
        reader = ReadStore(folder, slice_size=MIB, most_open=1)
        took: list[list[float]] = [[], [], []]
        for turn, number in itertools.product(range(2), range(count)):
            meta = meta_of(number, length)
            began = time.perf_counter()
            found = await reader.open(SliceKey(meta.version, 0), meta)
            took[2 * turn].append(time.perf_counter() - began)
            if found is None or turn:
                continue
            began = time.perf_counter()
            found.read_nowait(0, length)
            took[1].append(time.perf_counter() - began)
        await reader.close()
    first, reading, again = (percentile(times, 0.5) * 1e3 for times in took)
    return Openings(length=length, first=first, reading=reading, again=again)


async def evictions(folder: Path, count: int) -> Evictions:
    """A cache's limit is lowered at a restart, so that so many slices go at once."""
    fresh(folder)
    kept = count // 4
    async with opened(folder, 2 * count * SMALL) as store, asyncio.TaskGroup() as tasks:
        await put_all(store, range(kept + count), SMALL, PUTTING)
        for _ in range(4):
            for number in range(count, count + kept):
                store.used(SliceKey(meta_of(number, SMALL).version, 0), 1)
        before = await hits(store, count, tasks.create_task(asyncio.sleep(1.0)))
    async with (
        opened(folder, kept * (SMALL + 8 * KIB)) as store,
        asyncio.TaskGroup() as tasks,
    ):
        # Some went before `start` returned: what is counted is what its time is known of.
        held, began = store.slices, time.perf_counter()
        evicting = tasks.create_task(until_at_rest(store))
        during = await hits(store, count, evicting)
        seconds, gone = time.perf_counter() - began, held - store.slices
    return Evictions(
        slices=gone,
        seconds=seconds,
        rate=gone / seconds,
        p99_before=percentile(before, 0.99),
        p99=percentile(during, 0.99),
    )


async def until_at_rest(store: DiskStore) -> None:
    """Until it is within its limit, and no file has to go any more."""
    before = -1
    while store.size > store.limit or store.size != before:
        before = store.size
        await asyncio.sleep(0.01)


async def hits(store: DiskStore, first: int, end: asyncio.Task[None]) -> list[float]:
    """Of slices that stay, at a steady rate, each from when it was due; until the end of that."""
    took, number, due = [], first, time.perf_counter()
    while not end.done():
        due = max(due + HIT_EVERY, time.perf_counter() - 1.0)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        meta = meta_of(number, SMALL)
        if found := await store.open(SliceKey(meta.version, 0), meta):
            await found.read(0, SMALL)
            took.append(time.perf_counter() - due)
        number = first + (number + 1 - first) % 64
    return took


def in_process(function: Any, *args: Any) -> Any:
    """What the coroutine gives, run in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, function, args).result()


def run(function: Any, args: Sequence[Any]) -> Any:
    return uvloop.run(function(*args))
