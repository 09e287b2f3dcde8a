"""The claims of `SliceStore`, over the disk and over its twin without one. The disk's own claims
are in the tests of test_store_disk.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core import lfuda, lru
from edgecache.core.admission import Admission
from edgecache.core.model import ObjectKey, Removal
from edgecache.store import SliceStore
from edgecache.store.disk import DiskStore
from edgecache.store.memory import MemoryStore
from tests.slices import SIZE, Removals, Sliced, meta_of, sliced

LIMIT = 16 * 2**20
MakeStore = Callable[..., SliceStore]


@pytest.fixture
def removals() -> Removals:
    return Removals()


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path, removals: Removals) -> MakeStore:
    def make(limit: int = LIMIT) -> SliceStore:
        if request.param == "memory":
            return MemoryStore(limit=limit, on_removal=removals)
        return DiskStore(tmp_path, limit=limit, slice_size=SIZE, on_removal=removals, policy="lru")

    return make


@pytest.fixture
async def store(make: MakeStore) -> AsyncIterator[SliceStore]:
    store = make()
    await store.start()
    yield store
    await store.close()


async def put(store: SliceStore, clip: Sliced, number: int = 0) -> bool:
    return await store.put(clip.key(number), clip.meta, clip.data(number))


async def read(store: SliceStore, clip: Sliced, number: int = 0) -> bytes | None:
    slice_ = await store.open(clip.key(number), clip.meta)
    return None if slice_ is None else bytes(await slice_.read(0, slice_.length))


async def test_a_slice_that_was_put_is_found(store: SliceStore) -> None:
    clip = sliced(length=SIZE + 10)
    assert not store.has(clip.key())
    assert await put(store, clip)
    assert store.has(clip.key())
    assert await read(store, clip) == clip.data()
    assert (store.slices, store.trouble()) == (1, "")


async def test_the_last_slice_is_short(store: SliceStore) -> None:
    clip = sliced(length=SIZE + 10)
    assert await put(store, clip, 1)
    slice_ = await store.open(clip.key(1), clip.meta)
    assert slice_ is not None
    assert slice_.length == 10
    assert await slice_.read(3, 7) == clip.data(1)[3:7]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_any_buffer_will_do(store: SliceStore, kind: Callable[[bytes], bytes]) -> None:
    clip = sliced()
    assert await store.put(clip.key(), clip.meta, kind(clip.data()))
    assert await read(store, clip) == clip.data()


async def test_it_is_opened_once_it_was_opened(store: SliceStore) -> None:
    clip = sliced()
    await put(store, clip)
    assert store.opened(clip.key()) is None
    await store.open(clip.key(), clip.meta)
    assert store.opened(clip.key()) is not None


async def test_what_memory_holds_is_read_without_waiting(store: SliceStore) -> None:
    clip = sliced()
    await put(store, clip)
    slice_ = await store.open(clip.key(), clip.meta)
    assert slice_ is not None
    assert slice_.read_nowait(10, 2000) in (clip.data()[10:2000], None)


async def test_what_was_never_put_is_a_miss(store: SliceStore) -> None:
    clip = sliced()
    assert await read(store, clip) is None
    assert store.opened(clip.key()) is None


async def test_a_slice_put_twice_is_there_once(store: SliceStore) -> None:
    clip = sliced()
    assert [await put(store, clip), await put(store, clip)] == [True, True]
    size = store.size
    assert await put(store, clip)
    assert (store.slices, store.size) == (1, size)


async def test_a_slice_put_by_two_at_once_is_there_once(store: SliceStore) -> None:
    clip = sliced()
    assert await asyncio.gather(*(put(store, clip) for _ in range(5))) == [True] * 5
    assert store.slices == 1


async def test_opened_by_many_at_once_it_is_the_same_for_all(store: SliceStore) -> None:
    clip = sliced()
    await put(store, clip)
    assert await asyncio.gather(*(read(store, clip) for _ in range(20))) == [clip.data()] * 20


async def test_a_slice_under_another_versions_name_is_refused(store: SliceStore) -> None:
    old, new = sliced(etag='"v1"'), sliced(etag='"v2"')
    assert not await store.put(old.key(), new.meta, new.data())
    assert not store.has(old.key())


async def test_what_is_larger_than_the_limit_is_refused_and_nothing_goes(
    make: MakeStore, removals: Removals
) -> None:
    store = make(limit=SIZE // 2)
    await store.start()
    assert not await put(store, sliced())
    assert (store.slices, removals.seen, store.trouble()) == (0, [], "")
    await store.close()


async def fill(store: SliceStore, clip: Sliced) -> int:
    """Put slices in order until the first of them goes; the number of the last one."""
    number = 0
    while await put(store, clip, number) and store.has(clip.key(0)):
        number += 1
    return number


async def test_the_least_recently_used_goes_first(make: MakeStore, removals: Removals) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    clip = sliced(length=1000 * SIZE)
    for number in range(3):
        await put(store, clip, number)
        await store.open(clip.key(number), clip.meta)
    assert store.opened(clip.key(0))
    number = 3
    while store.has(clip.key(1)):
        assert await put(store, clip, number)
        number += 1
    while store.has(clip.key(2)):
        assert await put(store, clip, number)
        number += 1
    assert store.has(clip.key(0))
    assert set(removals.reasons) == {Removal.EVICTED}
    assert all(size >= SIZE for _reason, size in removals.seen)
    assert store.size <= store.limit
    await store.close()


async def test_slices_of_an_old_version_go_first(make: MakeStore, removals: Removals) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    old, new = sliced(length=1000 * SIZE), sliced(length=1000 * SIZE, etag='"v2"')
    await put(store, new, 0)
    for number in range(5):
        await put(store, old, number)
    store.supersede(old.meta.version, range(1000))
    number = 1
    while any(store.has(old.key(number)) for number in range(5)):
        assert await put(store, new, number)
        number += 1
    assert removals.reasons[:5] == [Removal.SUPERSEDED] * 5
    assert len(removals.reasons) <= 6  # the index may have grown meanwhile
    await store.close()


async def test_an_open_slice_can_be_read_after_it_was_evicted(make: MakeStore) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    clip = sliced(length=1000 * SIZE)
    await put(store, clip, 0)
    reader = await store.open(clip.key(0), clip.meta)
    assert reader is not None
    await fill(store, clip)
    assert (store.has(clip.key(0)), store.opened(clip.key(0))) == (False, None)
    assert await reader.read(0, reader.length) == clip.data(0)
    await store.close()


async def test_an_evicted_slice_can_be_put_again(make: MakeStore) -> None:
    store = make(limit=4 * 2**20)
    await store.start()
    clip = sliced(length=1000 * SIZE)
    await fill(store, clip)
    assert await put(store, clip, 0)
    assert await read(store, clip, 0) == clip.data(0)
    await store.close()


async def test_a_slice_of_the_wrong_version_is_removed_and_counted(
    store: SliceStore, removals: Removals
) -> None:
    clip = sliced()
    await put(store, clip)
    assert await store.open(clip.key(), replace(clip.meta, etag='"v2"')) is None
    assert not store.has(clip.key())
    assert removals.reasons == [Removal.CORRUPT]


async def test_stored_responses_are_kept_by_key(store: SliceStore) -> None:
    meta, other = meta_of("outputs/a.png"), meta_of("outputs/b.png")
    assert await store.load_meta(meta.key) is None
    assert await store.save_meta(meta)
    assert await store.load_meta(meta.key) == meta
    assert await store.load_meta(other.key) is None
    assert await store.load_meta(ObjectKey("other", meta.key.key)) is None
    assert await store.save_meta(fresher := replace(meta, response_time=1.0))
    assert await store.load_meta(meta.key) == fresher
    await store.remove_meta(meta.key)
    await store.remove_meta(other.key)
    assert await store.load_meta(meta.key) is None


async def test_closed_it_stores_nothing(make: MakeStore) -> None:
    store = make()
    await store.start()
    await store.close()
    await store.close()
    clip = sliced()
    assert not await put(store, clip)
    assert not await store.save_meta(clip.meta)
    await store.remove_meta(clip.meta.key)


async def test_larger_objects_pass_by(store: SliceStore) -> None:
    store.admission = Admission(max_object=2 * SIZE)
    large, fitting = (
        sliced("large.mp4", length=2 * SIZE + 1),
        sliced("fitting.mp4", length=2 * SIZE),
    )
    assert not await put(store, large)
    assert await put(store, fitting)
    assert (store.slices, store.trouble()) == (1, "")


async def test_to_spare_the_disk_a_large_slice_is_stored_when_it_comes_again(
    store: SliceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for policy in (lfuda, lru):
        monkeypatch.setattr(policy, "WORN", SIZE)
    store.admission = Admission(wear=True)
    clip = sliced()
    assert not await put(store, clip)
    assert not store.has(clip.key())
    assert await put(store, clip)
    assert await read(store, clip) == clip.data()


async def test_what_is_pinned_goes_last(make: MakeStore) -> None:
    store = make(limit=4 * 2**20)
    store.admission = Admission(pins=(ObjectKey("runpod", "outputs/logo"),))
    await store.start()
    logo, clip = sliced("logo.png"), sliced(length=1000 * SIZE)
    await put(store, logo)
    for number in range(100):
        assert await put(store, clip, number)
    assert store.has(logo.key())
    assert not store.has(clip.key(0))
    await store.close()


async def test_popularity_is_of_what_is_here(store: SliceStore) -> None:
    clip = sliced()
    assert store.popularity(clip.key()) is None
    await put(store, clip)
    before = store.popularity(clip.key())
    store.used(clip.key(), 3)
    after = store.popularity(clip.key())
    assert before is not None
    assert after is not None
    assert (before.count, after.count) == (1, 4)
