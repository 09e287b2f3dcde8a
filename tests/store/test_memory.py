"""Its switches. What it has in common with the disk is claimed in test_store.py."""

from edgecache.store.memory import MemoryStore
from tests.slices import SIZE, sliced

CLIP = sliced()


async def test_failing_it_stores_nothing_and_says_so() -> None:
    store = MemoryStore()
    store.failing = True
    assert not await store.put(CLIP.key(), CLIP.meta, CLIP.data())
    assert not await store.save_meta(CLIP.meta)
    assert store.trouble() == "No space left on device"
    store.failing = False
    assert await store.put(CLIP.key(), CLIP.meta, CLIP.data())
    assert store.trouble() == ""


async def test_failing_it_still_gives_what_it_has() -> None:
    store = MemoryStore()
    await store.put(CLIP.key(), CLIP.meta, CLIP.data())
    store.failing = True
    assert await store.open(CLIP.key(), CLIP.meta)


async def test_cold_every_read_takes_the_long_way() -> None:
    store = MemoryStore()
    await store.put(CLIP.key(), CLIP.meta, CLIP.data())
    opened = await store.open(CLIP.key(), CLIP.meta)
    assert opened is not None
    assert opened.read_nowait(0, SIZE) == CLIP.data()
    store.cold = True
    assert opened.read_nowait(0, SIZE) is None
    assert await opened.read(0, SIZE) == CLIP.data()
