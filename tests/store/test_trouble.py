"""A disk that fails: told, passed by, and got over without a restart."""

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecache.store import writer
from edgecache.store.disk import DiskStore
from tests.slices import SIZE, disk_use, slice_files
from tests.store.support import CLIP, COST, LIMIT, Make, patch_os
from tests.store.test_disk import put, read
from tests.waiting import until


@pytest.mark.parametrize("call", ["writev", "open", "rename", "statvfs"])
async def test_a_full_disk_is_told_and_got_over(
    store: DiskStore, directory: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, CLIP, 0)
    size = store.size
    with monkeypatch.context() as patch:
        patch_os(patch, call)
        assert not await put(store, CLIP, 1)
        assert not store.has(CLIP.key(1))
        assert store.trouble() == "No space left on device"
    assert len(slice_files(directory)) == 1
    assert not (directory / "writing").exists()
    assert await read(store, CLIP, 0) == CLIP.data(0)
    assert await put(store, CLIP, 1)
    assert store.trouble() == ""
    await until(lambda: store.size < size + 2 * COST)


async def test_a_failed_put_takes_no_room(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, CLIP, 0)
    size = store.size
    with monkeypatch.context() as patch:
        patch_os(patch, "writev")
        for number in range(1, 100):
            assert not await put(store, CLIP, number)
    assert store.slices == 1
    await until(lambda: store.size < size + COST)


async def test_trouble_ends_without_a_request(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is not ready gets no requests: its store has to find out by itself."""
    store._writer.interval = 0.0
    with monkeypatch.context() as patch:
        patch_os(patch, "writev")
        patch_os(patch, "statvfs")
        assert not await put(store, CLIP)
        assert store.trouble()
    await until(lambda: not store.trouble())


async def test_an_index_that_fails_is_told_and_got_over(store: DiskStore, directory: Path) -> None:
    await put(store, CLIP, 0)
    impatient = "PRAGMA busy_timeout = 0"
    await store._writer.change(lambda: store._folder.index._cache._sql(impatient))
    lock = sqlite3.connect(directory / "cache.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert not await put(store, CLIP, 1)
    assert not await store.save_meta(CLIP.meta)
    assert store.trouble() == "index: database is locked"
    assert len(slice_files(directory)) == 1
    lock.close()
    assert await put(store, CLIP, 1)
    assert store.trouble() == ""


@pytest.fixture
def in_its_place(directory: Path) -> Callable[[], None]:
    """A file; the call removes it."""
    directory.write_text("a file")
    return directory.unlink


async def test_a_folder_that_cannot_be_made_is_trouble_not_the_end(
    in_its_place: Callable[[], None], make: Make
) -> None:
    store = make()
    store._writer.interval = 0.0
    await store.start()
    assert store.trouble()
    assert not await put(store, CLIP)
    assert not await store.save_meta(CLIP.meta)
    assert await store.load_meta(CLIP.meta.key) is None
    in_its_place()
    await until(lambda: not store.trouble())
    assert await put(store, CLIP)
    await store.close()


async def test_a_folder_that_is_gone_is_found_out_and_made_again_without_a_request(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PROBE_INTERVAL", 0.01)
    told: list[str] = []
    store = DiskStore(
        directory,
        limit=LIMIT,
        slice_size=SIZE,
        on_unlinked=lambda: told.append("unlinked"),
        on_lost=lambda: told.append("lost"),
    )
    await store.start()
    await put(store, CLIP)
    told.clear()
    shutil.rmtree(directory)
    await until(lambda: "lost" in told and not store.trouble())
    assert told == ["lost", "unlinked"]  # others let go of what they have open
    assert not store.has(CLIP.key())
    assert await put(store, CLIP)
    assert await read(store, CLIP) == CLIP.data()
    await store.close()


async def test_what_is_lost_is_not_waited_for(store: DiskStore, directory: Path) -> None:
    """Two intervals, one to find out and one to make another, would be ten seconds."""
    await until(lambda: store._writer._changes == 0)  # what a start does behind
    shutil.rmtree(directory)
    store._writer.interval = 1000.0
    assert not await put(store, CLIP)
    await until(lambda: not store.trouble())
    assert await put(store, CLIP)


class FailingCalls:
    """The Nth of these calls fails, and it alone."""

    CALLS = ("open", "writev", "rename", "unlink", "mkdir", "statvfs", "close")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
        self.count = 0
        self.fails = fails
        for call in self.CALLS:
            monkeypatch.setattr(os, call, self.wrap(getattr(os, call)))

    def wrap(self, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            if threading.current_thread().name.startswith("edgecache-writer"):
                self.count += 1
                if self.count == self.fails:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*args, **kwargs)

        return wrapped


async def test_whichever_call_fails_what_is_served_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's way: the first call fails, then the second, until none does."""
    fails, calls = 0, 1
    while fails <= calls:
        fails += 1
        directory = tmp_path / str(fails)
        store = DiskStore(directory, limit=900_000, slice_size=SIZE)  # room for five
        store._writer.interval = 0.0
        with monkeypatch.context() as patch:
            failing = FailingCalls(patch, fails)
            await store.start()
            for number in range(7):
                await put(store, CLIP, number)
                assert await read(store, CLIP, number) in (CLIP.data(number), None)
        calls = failing.count
        await until(lambda: not store.trouble())  # noqa: B023
        assert await put(store, CLIP, 99)
        await until(lambda: len(slice_files(directory)) == store.slices)  # noqa: B023
        assert await read(store, CLIP, 99) == CLIP.data(99)
        assert disk_use(directory) <= store.limit
        await store.close()
    assert calls > 35
