"""Several at once, callers that leave, and the end."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.core.model import Removal
from edgecache.store import writer
from edgecache.store.disk import DiskStore
from tests.slices import Removals
from tests.store.support import CLIP, Make, have_nothing_in_memory, restarted
from tests.store.test_disk import put, read
from tests.waiting import until


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Shut, it holds up every write to a slice's file."""
    gate = threading.Event()
    writev = os.writev

    def wait(fd: int, parts: list[memoryview]) -> int:
        assert gate.wait(10)
        return writev(fd, parts)

    monkeypatch.setattr(os, "writev", wait)
    yield gate
    gate.set()


async def test_a_slice_is_there_when_its_row_is(store: DiskStore, gate: threading.Event) -> None:
    putting = asyncio.gather(*(put(store, CLIP) for _ in range(2)))
    await asyncio.sleep(0)
    assert not store.has(CLIP.key())
    assert await read(store, CLIP) is None
    gate.set()
    assert await putting == [True, True]
    assert store.has(CLIP.key())


async def test_a_put_whose_caller_is_gone_is_carried_through(
    store: DiskStore, gate: threading.Event
) -> None:
    putting = asyncio.gather(put(store, CLIP))
    await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    gate.set()
    assert await put(store, CLIP)
    assert await read(store, CLIP) == CLIP.data()


async def test_a_removal_whose_caller_is_gone_is_carried_through(
    store: DiskStore, gate: threading.Event
) -> None:
    """The origin has no such object any more, whoever heard of it."""
    await store.save_meta(CLIP.meta)
    putting = asyncio.gather(put(store, CLIP))
    removing = asyncio.gather(store.remove_meta(CLIP.meta.key))
    await asyncio.sleep(0)
    removing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removing
    gate.set()
    await putting
    await until(lambda: store._writer._changes == 0)
    assert await store.load_meta(CLIP.meta.key) is None


async def test_one_opener_of_many_may_leave(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, CLIP)
    gate = threading.Event()
    pread = os.pread

    def wait(*args: int) -> bytes:
        assert gate.wait(10)
        return pread(*args)

    monkeypatch.setattr(os, "pread", wait)
    have_nothing_in_memory(monkeypatch)
    first = asyncio.gather(read(store, CLIP))
    second = asyncio.gather(*[read(store, CLIP)])
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert await second == [CLIP.data()]


async def test_a_slice_evicted_while_it_is_opened_is_a_miss(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, removals: Removals
) -> None:
    await put(store, CLIP)
    gate = threading.Event()
    pread = os.pread

    def wait(*args: int) -> bytes:
        assert gate.wait(10)
        return pread(*args)

    monkeypatch.setattr(os, "pread", wait)
    have_nothing_in_memory(monkeypatch)
    opening = asyncio.gather(*[store.open(CLIP.key(), CLIP.meta)])
    await asyncio.sleep(0)
    number = 1
    while store.has(CLIP.key()):
        await put(store, CLIP, number)
        number += 1
    gate.set()
    assert await opening == [None]
    assert set(removals.reasons) == {Removal.EVICTED}


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_few_descriptors_are_held_and_a_slice_that_is_read_is_not_opened_twice(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecache.store.disk.OPEN_SLICES", 2)
    store = make()
    await store.start()
    for number in range(4):
        await put(store, CLIP, number)
    reader = await store.open(CLIP.key(0), CLIP.meta)
    before = descriptors()
    for number in range(1, 4):
        await store.open(CLIP.key(number), CLIP.meta)
    assert descriptors() == before + 2
    assert store.opened(CLIP.key(0)) is None
    assert await store.open(CLIP.key(0), CLIP.meta) is reader
    await store.close()


async def test_closing_waits_for_puts_and_loses_none(store: DiskStore, make: Make) -> None:
    puts = [asyncio.gather(put(store, CLIP, number)) for number in range(20)]
    await asyncio.sleep(0)
    store = await restarted(store, make)
    assert store.slices == 20
    assert all(done.result() for done in puts)
    await store.close()


async def test_after_closing_nothing_is_open(store: DiskStore) -> None:
    before = descriptors()
    await put(store, CLIP)
    await store.open(CLIP.key(), CLIP.meta)
    await store.load_meta(CLIP.meta.key)
    await store.close()
    assert descriptors() < before
    assert await read(store, CLIP) is None
    assert await store.load_meta(CLIP.meta.key) is None


def test_the_watch_looks_soon_enough() -> None:
    """Normal within ten seconds of the end of a fault."""
    assert writer.PROBE_INTERVAL < 10
