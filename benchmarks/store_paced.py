"""Hits of a server while another process writes slices at a steady 300 MB/s: through the store, or,
as a control, as plain files of the same length and number.

Rule of this module: the writer has the store's work alone, without origin, clients and HTTP. On few
cores any writing takes from the hits; how much of it is the store's the control tells.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import uvloop

from benchmarks import hits, steady
from benchmarks.bucket import pieces
from benchmarks.servers import Running, fresh
from benchmarks.store_alone import MIB, PUTTING, meta_of, opened, put_all
from benchmarks.store_fill import RATE, asking, hot
from edgecache.core.model import SliceKey
from edgecache.store.disk import DiskStore

PACE = 300e6  # bytes a second
HELD = 1024 * MIB  # of what was written, in either way
LENGTH = 64 * 2**10  # of the object that is hit
NOTHING, STORE, PLAIN = "no writing", "the store", "plain files"
KINDS = (NOTHING, STORE, PLAIN)
PATIENCE = 60.0
STOLEN = 7  # of `cpu_times`


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """Milliseconds; `written` in MB/s. `stolen` is which part of the CPU time a virtual machine's
    host gave to others, in per cent: a few of them, and p99 says more of these than of anything
    here."""

    p50: float
    p99: float
    late: float
    stolen: float
    written: float


def measure(server: Running, folder: Path, kind: str, seconds: float) -> Paced:
    hits.warm(server, hot(LENGTH))
    if kind == NOTHING:
        return hit(server, seconds)
    context = get_context("spawn")
    ready, ended = context.Event(), context.Event()
    told, tell = context.Pipe(duplex=False)
    writer = context.Process(target=write, args=(folder, kind, ready, ended, tell))
    writer.start()
    try:
        if not ready.wait(PATIENCE):
            raise SystemExit(f"{kind}: nothing is written")
        took = hit(server, seconds)
    finally:
        ended.set()
        writer.join(PATIENCE)
    return replace(took, written=told.recv())


def hit(server: Running, seconds: float) -> Paced:
    before = cpu_times()
    took = steady.run(server.port, asking(LENGTH), rate=RATE, seconds=seconds)
    spent = [after - one for after, one in zip(cpu_times(), before, strict=True)]
    stolen = 100 * spent[STOLEN] / max(sum(spent), 1)
    return Paced(p50=took.p50, p99=took.p99, late=took.late, stolen=stolen, written=0.0)


def cpu_times() -> list[int]:
    """Of all CPUs since they began, in ticks: user, nice, system, idle, iowait, irq, softirq,
    stolen."""
    with Path("/proc/stat").open("rb") as file:
        return [int(one) for one in file.readline().split()[1:9]]


def write(folder: Path, kind: str, ready: Event, ended: Event, tell: "Connection[float]") -> None:
    """In a process of its own; tells MB/s."""
    writing = through_store if kind == STORE else plainly
    tell.send(uvloop.run(writing(fresh(folder), ready, ended)))


async def through_store(folder: Path, ready: Event, ended: Event) -> float:
    data = bytearray(b"".join(pieces(0, MIB)))
    async with opened(folder, HELD) as store:
        await put_all(store, range(HELD // MIB), MIB, PUTTING)  # from here each evicts one
        return await paced(ready, ended, lambda number: put(store, HELD // MIB + number, data))


async def put(store: DiskStore, number: int, data: bytearray) -> None:
    meta = meta_of(number, MIB)
    if not await store.put(SliceKey(meta.version, 0), meta, data):
        raise SystemExit(f"the store did not take a slice: {store.trouble()}")


async def plainly(folder: Path, ready: Event, ended: Event) -> float:
    data = bytearray(b"".join(pieces(0, MIB)))
    held = HELD // MIB

    def write_one(number: int) -> None:
        (folder / f"{number - held}").unlink(missing_ok=True)
        with (folder / f"{number}").open("wb", buffering=0) as file:
            file.write(data)

    for number in range(held):
        write_one(number)
    return await paced(ready, ended, lambda number: asyncio.to_thread(write_one, held + number))


async def paced(
    ready: Event, ended: Event, one: Callable[[int], Coroutine[None, None, None]]
) -> float:
    """Begins one after another when it is due; MB/s."""
    turns = asyncio.Semaphore(PUTTING)

    async def in_turn(number: int) -> None:
        async with turns:
            await one(number)

    ready.set()
    began, count = time.perf_counter(), 0
    async with asyncio.TaskGroup() as tasks:
        while not ended.is_set():
            await asyncio.sleep(max(0.0, began + count * MIB / PACE - time.perf_counter()))
            async with turns:
                tasks.create_task(in_turn(count))
            count += 1
    return count * MIB / (time.perf_counter() - began) / 1e6
