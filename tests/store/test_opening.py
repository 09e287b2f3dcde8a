"""Slices opened through a folder that a DiskStore wrote."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.core.model import SliceKey
from edgecache.store.at_once import NOWAIT
from edgecache.store.disk import DiskStore
from edgecache.store.files import SliceFiles, WrongSlice
from edgecache.store.open_slice import OpenSlices
from edgecache.store.opening import Openings
from tests.slices import SIZE, slice_files
from tests.store.support import CLIP, have_nothing_in_memory, held_files, patch_os
from tests.store.test_disk import put
from tests.store.test_files import DAMAGES
from tests.waiting import until

needs_nowait = pytest.mark.skipif(not NOWAIT, reason="only Linux reads without waiting")


class Wired:
    """Openings, and what they told their owner."""

    def __init__(self, directory: Path, most: int = 10) -> None:
        self.wanted = True
        self.wrong: list[SliceKey] = []
        self.kept = OpenSlices(most)
        self.openings = Openings(
            SliceFiles(directory, SIZE),
            self.kept,
            is_wanted=lambda _: self.wanted,
            on_wrong=self._on_wrong,
        )

    def _on_wrong(self, key: SliceKey, _: WrongSlice) -> None:
        self.wrong.append(key)


class Gate:
    """Nothing is in memory; shut, it holds up every verification; counts them all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.event = threading.Event()
        self.reads = 0
        pread = os.pread

        def wait(*args: int) -> bytes:
            self.reads += 1
            assert self.event.wait(10)
            return pread(*args)

        monkeypatch.setattr(os, "pread", wait)
        have_nothing_in_memory(monkeypatch)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.event.set()


async def test_fifty_that_ask_at_once_get_one_slice_read_once(
    store: DiskStore, directory: Path, gate: Gate
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    opening = asyncio.gather(*(wired.openings.open(CLIP.key(), CLIP.meta) for _ in range(50)))
    await until(lambda: gate.reads)
    gate.event.set()
    (opened,) = set(await opening)
    assert opened is not None
    assert opened is wired.kept.get(CLIP.key())
    assert await opened.read(0, SIZE) == CLIP.data()
    assert gate.reads == 2  # that last one, too
    await wired.openings.close()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("a thread was asked")

    monkeypatch.setattr(SliceFiles, "open", fail)


@needs_nowait
async def test_what_the_kernel_has_in_memory_is_verified_without_a_thread(
    store: DiskStore, directory: Path, no_threads: None
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    opened = await wired.openings.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    assert opened is wired.kept.get(CLIP.key())
    assert opened.read_nowait(0, SIZE) == CLIP.data()
    await wired.openings.close()


@needs_nowait
@pytest.mark.parametrize("damage", ["cut to nothing", "cut", "longer", "zeroed", "one bit"])
async def test_what_is_damaged_in_memory_is_wrong_without_a_thread(
    store: DiskStore, directory: Path, no_threads: None, damage: str
) -> None:
    await put(store, CLIP)
    DAMAGES[damage](slice_files(directory)[0])
    wired = Wired(directory)
    assert await wired.openings.open(CLIP.key(), CLIP.meta) is None
    assert wired.wrong == [CLIP.key()]
    assert held_files(directory) == []
    await wired.openings.close()


async def test_what_is_not_in_memory_is_read_by_a_thread(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, CLIP)
    patch_os(monkeypatch, "preadv", errno.EAGAIN)
    wired = Wired(directory)
    opened = await wired.openings.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    assert len(held_files(directory)) == 1  # that of the first try is closed
    assert await opened.read(0, SIZE) == CLIP.data()
    await wired.openings.close()


async def test_each_gets_its_slice_however_few_are_kept(
    store: DiskStore, directory: Path, gate: Gate
) -> None:
    for number in range(4):
        await put(store, CLIP, number)
    wired = Wired(directory, most=1)
    opening = asyncio.gather(
        *(wired.openings.open(CLIP.key(number), CLIP.meta) for number in range(4))
    )
    await until(lambda: gate.reads == 4)
    gate.event.set()
    threads = wired.openings._threads
    threads.shutdown(wait=True)  # so that all of them end in one turn of the loop
    opened = await opening
    assert [one and await asyncio.to_thread(one._read, 0, SIZE) for one in opened] == [
        CLIP.data(number) for number in range(4)
    ]
    assert len(wired.kept.all()) == 1
    await wired.openings.close()


async def test_one_that_somebody_still_reads_is_not_opened_again(
    store: DiskStore, directory: Path
) -> None:
    for number in range(2):
        await put(store, CLIP, number)
    wired = Wired(directory, most=1)
    reader = await wired.openings.open(CLIP.key(0), CLIP.meta)
    await wired.openings.open(CLIP.key(1), CLIP.meta)
    assert wired.kept.get(CLIP.key(0)) is None
    assert await wired.openings.open(CLIP.key(0), CLIP.meta) is reader
    assert wired.kept.get(CLIP.key(0)) is reader
    await wired.openings.close()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is too young to be remembered."""
    monkeypatch.setattr("edgecache.store.verified.SETTLED", 0.0)


async def test_one_that_was_verified_is_opened_again_unread(
    store: DiskStore, directory: Path, gate: Gate, settled: None
) -> None:
    gate.event.set()
    for number in range(2):
        await put(store, CLIP, number)
    wired = Wired(directory, most=1)
    for number in (0, 1, 0, 1):
        opened = await wired.openings.open(CLIP.key(number), CLIP.meta)
        assert opened is not None
        assert opened is wired.kept.get(CLIP.key(number))
        assert await asyncio.to_thread(opened._read, 0, opened.length) == CLIP.data(number)
    assert gate.reads == 2 + 4
    await wired.openings.close()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_one_that_was_damaged_since_is_wrong(
    store: DiskStore, directory: Path, settled: None, damage: str
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    assert await wired.openings.open(CLIP.key(), CLIP.meta) is not None
    wired.kept.forget(CLIP.key())
    DAMAGES[damage](slice_files(directory)[0])
    assert await wired.openings.open(CLIP.key(), CLIP.meta) is None
    assert wired.wrong == [CLIP.key()]
    await wired.openings.close()


async def test_one_that_was_put_anew_is_verified_anew(
    store: DiskStore, directory: Path, gate: Gate, settled: None
) -> None:
    gate.event.set()
    wired = Wired(directory)
    for _ in range(2):
        await put(store, CLIP)
        assert await wired.openings.open(CLIP.key(), CLIP.meta) is not None
        wired.kept.forget(CLIP.key())
        store.discard(CLIP.meta.version, range(1))
        await until(lambda: not slice_files(directory))
    assert gate.reads == 2
    await wired.openings.close()


async def test_what_is_not_wanted_any_more_is_not_left_open(
    store: DiskStore, directory: Path, gate: Gate
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    opening = asyncio.gather(*(wired.openings.open(CLIP.key(), CLIP.meta) for _ in range(2)))
    await until(lambda: gate.reads)
    wired.wanted = False
    gate.event.set()
    assert await opening == [None, None]
    assert wired.kept.all() == []
    await until(lambda: not held_files(directory))
    assert wired.wrong == []
    await wired.openings.close()


async def test_one_who_asks_may_leave(store: DiskStore, directory: Path, gate: Gate) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    first, second = (asyncio.gather(wired.openings.open(CLIP.key(), CLIP.meta)) for _ in range(2))
    await until(lambda: gate.reads)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.event.set()
    assert (await second)[0] is wired.kept.get(CLIP.key()) is not None
    await wired.openings.close()


async def test_what_is_wrong_is_told_once(store: DiskStore, directory: Path, gate: Gate) -> None:
    gate.event.set()
    await put(store, CLIP)
    (file,) = slice_files(directory)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    wired = Wired(directory)
    asking = (wired.openings.open(CLIP.key(number), CLIP.meta) for number in (0, 0, 1))
    assert await asyncio.gather(*asking) == [None, None, None]
    assert sorted(wired.wrong) == [CLIP.key(0), CLIP.key(1)]
    assert held_files(directory) == []
    await wired.openings.close()


async def test_what_turns_out_wrong_as_it_is_read_is_told_too(
    store: DiskStore, directory: Path
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    opened = await wired.openings.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    (file,) = slice_files(directory)
    os.truncate(file, 100)
    with pytest.raises(Exception, match="cut short"):
        await opened.read(0, SIZE)
    assert wired.wrong == [CLIP.key()]
    await wired.openings.close()


async def test_a_shortage_says_nothing_of_the_slice(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    with monkeypatch.context() as patched:
        have_nothing_in_memory(patched)
        patch_os(patched, "open", 24)  # EMFILE
        assert await wired.openings.open(CLIP.key(), CLIP.meta) is None
    assert wired.wrong == []
    assert await wired.openings.open(CLIP.key(), CLIP.meta) is not None
    await wired.openings.close()


async def test_closing_waits_for_what_is_under_way(
    store: DiskStore, directory: Path, gate: Gate
) -> None:
    await put(store, CLIP)
    wired = Wired(directory)
    opening = asyncio.gather(wired.openings.open(CLIP.key(), CLIP.meta))
    await until(lambda: gate.reads)
    closing = asyncio.gather(wired.openings.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    gate.event.set()
    await closing
    assert (await opening)[0] is wired.kept.get(CLIP.key()) is not None
