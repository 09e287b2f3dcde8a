"""What a DiskStore writes, read by another on the same folder."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.store.disk import DiskStore
from edgecache.store.reader import MOST_COUNTED, ReadStore
from tests.forked import forked
from tests.slices import SIZE, slice_files, sliced
from tests.store.support import CLIP, LIMIT, Make, have_nothing_in_memory, held_files, removed_files
from tests.store.test_disk import put
from tests.waiting import until


@pytest.fixture
async def reader(store: DiskStore, directory: Path) -> AsyncIterator[ReadStore]:
    reader = ReadStore(directory, slice_size=SIZE, most_open=10)
    yield reader
    await reader.close()


async def read(reader: ReadStore, number: int = 0) -> bytes | None:
    opened = await reader.open(CLIP.key(number), CLIP.meta)
    return None if opened is None else bytes(await opened.read(0, opened.length))


async def evict(store: DiskStore, number: int = 0) -> None:
    """Until slice `number` is gone, files and all."""
    other = sliced("other.mp4", length=10_000 * SIZE)
    filler = 0
    while store.has(CLIP.key(number)):
        await put(store, other, filler)
        filler += 1
    await until(lambda: store._writer._changes == 0)


async def test_it_reads_what_was_just_written(store: DiskStore, reader: ReadStore) -> None:
    for number in range(5):
        assert await reader.load_meta(CLIP.meta.key) == (CLIP.meta if number else None)
        await store.save_meta(CLIP.meta)
        assert await read(reader, number) is None
        await put(store, CLIP, number)
        assert await read(reader, number) == CLIP.data(number)
        assert await reader.slices(CLIP.meta.version) == set(range(number + 1))


async def test_it_reads_while_much_is_written(store: DiskStore, reader: ReadStore) -> None:
    """Never a wrong byte, never an exception."""

    async def write() -> None:
        for number in range(600):
            await store.save_meta(sliced(f"{number % 7}.mp4").meta)
            await put(store, CLIP, number)

    clip = sliced("3.mp4")
    writing = asyncio.gather(write())
    found = 0
    while not writing.done():
        for number in sorted(await reader.slices(CLIP.meta.version))[-5:]:
            data = await read(reader, number)
            assert data in (CLIP.data(number), None)
            found += data is not None
        assert await reader.load_meta(clip.meta.key) in (clip.meta, None)
        await reader.release()
    assert found > 10
    assert await reader.load_meta(clip.meta.key) == clip.meta


async def test_another_process_reads_too(make: Make, directory: Path) -> None:
    """One that was forked before the store was there, as workers are."""
    ready, tell = os.pipe()

    async def check() -> None:
        reader = ReadStore(directory, slice_size=SIZE, most_open=10)
        assert os.read(ready, 1) == b"1"
        assert await reader.load_meta(CLIP.meta.key) == CLIP.meta
        assert await reader.slices(CLIP.meta.version) == {0}
        assert await read(reader) == CLIP.data()
        assert await reader.release() == 0
        assert os.read(ready, 1) == b"2"
        assert await reader.release() == 1
        assert held_files(directory) == []
        assert await reader.load_meta(CLIP.meta.key) is None
        await reader.close()

    with forked(lambda: asyncio.run(check())) as child:
        store = make()
        await store.start()
        await store.save_meta(CLIP.meta)
        await put(store, CLIP)
        os.write(tell, b"1")
        await asyncio.sleep(0)
        await evict(store)
        await store.remove_meta(CLIP.meta.key)
        os.write(tell, b"2")
        assert await asyncio.to_thread(child.wait) == 0
    await store.close()
    os.close(ready)
    os.close(tell)


async def test_what_is_evicted_is_let_go_of(
    store: DiskStore, reader: ReadStore, directory: Path
) -> None:
    for number in range(3):
        await put(store, CLIP, number)
        await read(reader, number)
    assert await reader.release() == 0
    await evict(store, 1)  # and so slice 0, which is older
    assert await read(reader) == CLIP.data()  # no wrong byte until then
    assert len(removed_files(directory)) == 2
    assert await reader.release() == 2
    assert removed_files(directory) == []
    assert await read(reader) is None
    assert await read(reader, 2) == CLIP.data(2)


async def test_what_somebody_reads_is_let_go_of_by_the_list(
    store: DiskStore, reader: ReadStore, directory: Path
) -> None:
    await put(store, CLIP)
    opened = await reader.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    await evict(store)
    assert await reader.release() == 1
    assert await opened.read(0, SIZE) == CLIP.data()
    assert await read(reader) is None
    del opened
    await until(lambda: not removed_files(directory))


async def test_a_slice_that_came_back_is_opened_anew(
    store: DiskStore, reader: ReadStore, directory: Path
) -> None:
    await put(store, CLIP)
    await read(reader)
    await evict(store)
    await put(store, CLIP)
    assert await reader.release() == 1
    assert await read(reader) == CLIP.data()
    assert removed_files(directory) == []
    assert await reader.release() == 0


async def test_a_damaged_slice_is_none_and_stays_where_it_is(
    store: DiskStore, reader: ReadStore, directory: Path
) -> None:
    await put(store, CLIP)
    (file,) = slice_files(directory)
    whole = file.read_bytes()
    for place in (3, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        assert await read(reader) is None
    assert slice_files(directory) == [file]
    assert held_files(directory) == []
    file.write_bytes(whole)
    assert await read(reader) == CLIP.data()


async def test_one_that_is_cut_under_a_reader_is_opened_anew(
    store: DiskStore, reader: ReadStore, directory: Path
) -> None:
    await put(store, CLIP)
    opened = await reader.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    (file,) = slice_files(directory)
    os.truncate(file, 1000)
    with pytest.raises(StoreError):
        await opened.read(0, SIZE)
    assert reader.opened(CLIP.key()) is None
    assert await read(reader) is None


async def test_few_are_kept_open(store: DiskStore, directory: Path) -> None:
    reader = ReadStore(directory, slice_size=SIZE, most_open=2)
    for number in range(5):
        await put(store, CLIP, number)
        assert await read(reader, number) == CLIP.data(number)
    await until(lambda: len(held_files(directory)) == 2)
    await reader.close()


async def test_uses_are_counted_up_to_a_bound(store: DiskStore, reader: ReadStore) -> None:
    await put(store, CLIP)
    await read(reader)
    assert reader.opened(CLIP.key()) is not None
    assert reader.opened(CLIP.key(1)) is None
    reader.used(CLIP.key(1), 5)
    assert reader.uses() == {CLIP.key(0): 2, CLIP.key(1): 5}
    assert reader.uses() == {}
    for number in range(MOST_COUNTED + 10):
        reader.used(CLIP.key(number), 1)
    reader.used(CLIP.key(3), 1)
    uses = reader.uses()
    assert len(uses) == MOST_COUNTED
    assert uses[CLIP.key(3)] == 2


async def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    reader = ReadStore(tmp_path / "none", slice_size=SIZE, most_open=10)
    assert await read(reader) is None
    assert await reader.load_meta(CLIP.meta.key) is None
    assert await reader.slices(CLIP.meta.version) == set()
    assert await reader.release() == 0
    await reader.close()
    assert not os.listdir(tmp_path)  # noqa: PTH208


async def test_another_slice_size_is_another_cache(store: DiskStore, directory: Path) -> None:
    await put(store, CLIP)
    reader = ReadStore(directory, slice_size=2 * SIZE, most_open=10)
    assert await reader.slices(CLIP.meta.version) == set()
    assert await read(reader) is None
    await reader.close()


async def test_once_it_is_closed_nothing_is_known_or_open(
    store: DiskStore, reader: ReadStore, directory: Path
) -> None:
    await store.save_meta(CLIP.meta)
    await put(store, CLIP)
    await read(reader)
    for _ in range(2):
        await reader.close()
        assert held_files(directory) == []
        assert await read(reader) is None
        assert await reader.load_meta(CLIP.meta.key) is None
        assert await reader.slices(CLIP.meta.version) == set()
        assert await reader.release() == 0


async def test_what_is_opened_as_it_closes_does_not_stay_open(
    store: DiskStore, reader: ReadStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, CLIP)
    gate = threading.Event()
    pread = os.pread

    def wait(*args: int) -> bytes:
        assert gate.wait(10)
        return pread(*args)

    monkeypatch.setattr(os, "pread", wait)
    have_nothing_in_memory(monkeypatch)
    opening = asyncio.gather(reader.open(CLIP.key(), CLIP.meta))
    await until(lambda: held_files(directory))
    closing = asyncio.gather(reader.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert (await opening)[0] is None
    await until(lambda: not held_files(directory))


async def test_a_restarted_store_is_followed(
    store: DiskStore, reader: ReadStore, make: Make
) -> None:
    await store.save_meta(CLIP.meta)
    await put(store, CLIP)
    assert await read(reader) == CLIP.data()
    await store.close()
    assert await reader.load_meta(CLIP.meta.key) == CLIP.meta
    store = make()
    await store.start()
    newer = sliced(etag='"v2"')
    await store.save_meta(newer.meta)
    assert await reader.load_meta(CLIP.meta.key) == newer.meta
    assert store.limit == LIMIT
    await store.close()
