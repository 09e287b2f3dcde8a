"""What a store finds when it starts, and what it leaves when it closes."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.core.model import Removal
from edgecache.store import files as files_module
from edgecache.store import slice_format
from edgecache.store.disk import DiskStore
from edgecache.store.files import SliceFiles
from edgecache.store.folder import SliceFolder
from tests.slices import SIZE, Removals, disk_use, slice_files, sliced
from tests.store.support import CLIP, Make, restarted
from tests.store.test_disk import put, read
from tests.waiting import until


async def test_slices_and_stored_responses_survive_a_restart(store: DiskStore, make: Make) -> None:
    for number in range(3):
        await put(store, CLIP, number)
    await store.save_meta(CLIP.meta)
    size = store.size
    store = await restarted(store, make)
    assert await store.load_meta(CLIP.meta.key) == CLIP.meta
    assert [await read(store, CLIP, number) for number in range(4)] == [
        CLIP.data(0),
        CLIP.data(1),
        CLIP.data(2),
        None,
    ]
    assert (store.slices, abs(store.size - size) < 2**20) == (3, True)
    await store.close()


async def test_after_a_restart_the_oldest_goes_first(store: DiskStore, make: Make) -> None:
    for number in (2, 0, 1):
        await put(store, CLIP, number)
    store = await restarted(store, make)
    number = 3
    while store.has(CLIP.key(1)):
        assert store.has(CLIP.key(0)) or not store.has(CLIP.key(2))
        assert await put(store, CLIP, number)
        number += 1
    assert not store.has(CLIP.key(0))
    await store.close()


async def test_slices_of_an_old_version_go_first_after_a_restart_too(
    make: Make, removals: Removals
) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    old, new = sliced(length=1000 * SIZE), sliced(length=1000 * SIZE, etag='"v2"')
    for number in range(5):
        await put(store, new, number)
        await put(store, old, number)
    store.supersede(old.meta.version, range(1000))
    await store.close()
    store = make(limit=4 * 2**20)
    await store.start()
    number = 5
    while any(store.has(old.key(number)) for number in range(5)):
        assert await put(store, new, number)
        number += 1
    assert removals.reasons[:5] == [Removal.SUPERSEDED] * 5
    await store.close()


async def test_a_lower_limit_is_kept_to_soon_after_the_start(
    store: DiskStore, make: Make, directory: Path, removals: Removals
) -> None:
    for number in range(200):
        await put(store, CLIP, number)
    store = await restarted(store, make, limit=4 * 2**20)
    await until(lambda: not store._evicting)
    kept = store.slices
    assert 0 < kept < 60
    await store.save_meta(CLIP.meta)
    assert store.slices == kept
    assert store.has(CLIP.key(199))
    assert set(removals.reasons) == {Removal.EVICTED}
    await until(lambda: not store._writer.unswept)
    assert disk_use(directory) <= store.limit
    assert await put(store, CLIP, 300)
    await store.close()


async def test_another_slice_size_starts_anew_and_frees_the_disk(
    store: DiskStore, make: Make, directory: Path
) -> None:
    """Number 1 of one size would pass for number 1 of the other."""
    for number in range(20):
        await put(store, CLIP, number)
    store = await restarted(store, make, slice_size=SIZE * 2)
    assert store.slices == 0
    await until(lambda: not slice_files(directory))
    assert await read(store, CLIP, 1) is None
    await store.close()


async def test_another_format_is_a_miss(
    store: DiskStore,
    make: Make,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put(store, CLIP)
    monkeypatch.setattr(slice_format, "FORMAT", slice_format.FORMAT + 1)
    monkeypatch.setattr(files_module, "FORMAT", slice_format.FORMAT)
    store = await restarted(store, make)
    assert await read(store, CLIP) is None
    await until(lambda: not slice_files(directory))
    await store.close()


async def test_files_without_a_row_are_swept(store: DiskStore, make: Make, directory: Path) -> None:
    """As a kill leaves them, or an index that is lost."""
    await put(store, CLIP, 0)
    files = SliceFiles(directory, SIZE)
    for number in range(1, 60):
        files.write(CLIP.key(number), CLIP.meta, CLIP.data(number))
    store = await restarted(store, make)
    assert store.slices == 1
    assert store.size > 60 * SIZE
    await until(lambda: len(slice_files(directory)) == 1)
    assert await read(store, CLIP, 0) == CLIP.data(0)
    await until(lambda: store.size < 10 * SIZE)
    await store.close()


async def test_a_slice_put_before_its_leftover_was_swept_stays(
    store: DiskStore, make: Make, directory: Path
) -> None:
    files = SliceFiles(directory, SIZE)
    for number in range(60):
        files.write(CLIP.key(number), CLIP.meta, CLIP.data(number))
    store = await restarted(store, make)
    assert await put(store, CLIP, 59)
    await until(lambda: len(slice_files(directory)) == 1)
    assert await read(store, CLIP, 59) == CLIP.data(59)
    await store.close()


async def test_while_much_has_to_be_swept_nothing_good_goes_for_it(
    store: DiskStore, make: Make, directory: Path, removals: Removals
) -> None:
    for number in range(100):
        await put(store, CLIP, number)
    files = SliceFiles(directory, SIZE)
    for number in range(500, 700):
        files.write(CLIP.key(number), CLIP.meta, CLIP.data(number))
    store = await restarted(store, make)
    assert not await put(store, CLIP, 900)
    await until(lambda: store.size < store.limit - 2**21)
    assert await put(store, CLIP, 900)
    assert removals.seen == []
    await store.close()


async def test_a_start_does_not_wait_until_all_files_were_seen(
    store: DiskStore, make: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is served. Nothing is stored yet: what else there is may take any room."""
    await put(store, CLIP, 0)
    SliceFiles(directory, SIZE).write(CLIP.key(1), CLIP.meta, CLIP.data(1))
    monkeypatch.setattr("edgecache.store.disk.LOOKING", 0.0)
    gate, strays = threading.Event(), SliceFolder.strays

    def wait(self: SliceFolder, place: str, is_slice: Callable[[str], bool]) -> dict[str, int]:
        assert gate.wait(10)
        return strays(self, place, is_slice)

    monkeypatch.setattr(SliceFolder, "strays", wait)
    store = await restarted(store, make)
    assert await read(store, CLIP, 0) == CLIP.data(0)
    assert not await put(store, CLIP, 2)
    assert store.trouble() == ""
    gate.set()
    await until(lambda: len(slice_files(directory)) == 1)
    assert await put(store, CLIP, 2)
    await store.close()


async def test_stored_responses_without_slices_stay_few_over_restarts(
    store: DiskStore, make: Make
) -> None:
    spare = store.limit // 2**16
    metas = [sliced(f"{number}.mp4").meta for number in range(spare + 20)]
    for meta in metas[:spare]:
        assert await store.save_meta(meta)
    store = await restarted(store, make)
    for meta in metas[spare:]:
        assert await store.save_meta(meta)
    behind = {"store-learn", "store-forget"}
    await until(lambda: behind.isdisjoint(task.get_name() for task in asyncio.all_tasks()))
    kept = [await store.load_meta(meta.key) for meta in metas]
    assert sum(meta is not None for meta in kept) == spare
    await store.close()


async def test_two_stores_do_not_share_a_folder(store: DiskStore, make: Make) -> None:
    second = make()
    with pytest.raises(StoreError, match="in use by another server"):
        await second.start()
    assert await put(store, CLIP)
    assert not await put(second, CLIP)
    await second.close()


async def test_a_limit_without_room_for_slices_is_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    store = make(limit=SIZE)
    await store.start()
    assert "cache.size leaves no room" in caplog.text
    assert not await put(store, CLIP)
    assert store.trouble() == ""
    await store.close()
