"""The bound in bytes: never overshot, whatever counts as disk use."""

import asyncio
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.store.disk import DiskStore
from edgecache.store.folder import SliceFolder
from tests.slices import SIZE, disk_use, slice_files, sliced
from tests.store.support import CLIP, Make
from tests.store.test_disk import put, read


class Gauge:
    """Measures the folder where it is at its fullest: after each call that adds something."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.most = 0
        self.times = 0
        self.unwrapped_close = os.close
        monkeypatch.setattr(os, "close", self.wrap(os.close))
        for change in ("write", "save_meta", "remove", "forget"):
            monkeypatch.setattr(SliceFolder, change, self.wrap(getattr(SliceFolder, change)))

    def measure(self) -> int:
        return disk_use(self.directory)

    def wrap(self, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object) -> object:
            result = call(*args)
            if threading.current_thread().name.startswith("edgecache-writer"):
                self.most = max(self.most, self.measure())
                self.times += 1
            return result

        return wrapped


async def churn(store: DiskStore, seed: int) -> None:
    """Puts and reads of objects of many sizes, several at a time."""
    choose = random.Random(seed)

    async def one(number: int) -> None:
        length = choose.choice([100, 5000, SIZE, 3 * SIZE + 77])
        clip = sliced(f"{seed}-{number}.mp4", length=length)
        await store.save_meta(clip.meta)
        for piece in range(-(-length // SIZE)):
            await put(store, clip, piece)
            data = await read(store, clip, piece)
            assert data in (clip.data(piece), None)

    for start in range(0, 100, 10):
        await asyncio.gather(*(one(number) for number in range(start, start + 10)))


@pytest.mark.parametrize("limit", [2 * 2**20, 8 * 2**20])
async def test_the_bound_is_never_overshot(
    make: Make, directory: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Database, log, folders and the file being written included."""
    store = make(limit=limit)
    await store.start()
    gauge = Gauge(directory, monkeypatch)
    for seed in range(1):
        await churn(store, seed)
        assert store.size <= limit
    assert gauge.times > 100
    assert limit // 2 < gauge.most <= limit
    assert store.trouble() == ""
    await store.close()


async def test_what_is_unlinked_but_still_read_counts(make: Make, directory: Path) -> None:
    limit = 4 * 2**20
    store = make(limit=limit)
    await store.start()
    readers = []
    for number in range(200):
        if await put(store, CLIP, number):
            readers.append(await store.open(CLIP.key(number), CLIP.meta))
        held = sum(os.fstat(reader._fd).st_blocks * 512 for reader in readers if reader)
        files = sum(path.stat().st_blocks * 512 for path in slice_files(directory))
        assert disk_use(directory) - files + held <= limit
        assert store.size <= limit
    assert not await put(store, CLIP, 999)
    assert store.trouble() == ""
    readers.clear()
    assert await put(store, CLIP, 999)
    await store.close()


async def test_stored_responses_are_bounded_too(make: Make, directory: Path) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    metas = [sliced(f"{number}.mp4").meta for number in range(200)]
    for meta in metas:
        await store.save_meta(replace(meta, headers=(("x-large", "x" * 8000),)))
    assert await store.load_meta(metas[-1].key) is not None
    assert await store.load_meta(metas[0].key) is None
    assert disk_use(directory) <= store.limit
    await store.close()


async def test_a_stored_response_stays_as_long_as_a_slice_does(
    make: Make,
) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    clip = sliced("kept.mp4")
    await store.save_meta(clip.meta)
    await put(store, clip)
    for number in range(150):
        await store.save_meta(sliced(f"{number}.mp4").meta)
    assert await store.load_meta(clip.meta.key) == clip.meta
    await store.close()


async def test_without_room_no_stored_response_is_saved(make: Make) -> None:
    store = make(limit=SIZE)
    await store.start()
    assert not await store.save_meta(CLIP.meta)
    assert store.trouble() == ""
    await store.close()
