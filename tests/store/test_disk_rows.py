from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.core.marks import Kind, Mark, Target
from edgecache.store.disk import DiskStore
from tests.slices import SIZE, meta_of

META = meta_of()
MARK = Mark(1, Target(Kind.PREFIX, "outputs/"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskStore]:
    store = DiskStore(tmp_path, limit=16 * 2**20, slice_size=SIZE)
    await store.start()
    assert await store.save_meta(META)
    yield store
    await store.close()


async def test_a_mark_is_stepped_through_and_settled(store: DiskStore) -> None:
    assert await store.save_mark(MARK)
    step = await store.step(MARK, "")
    assert step is not None
    assert [meta.key for meta in step.metas] == [META.key]
    assert await store.settle(MARK, [META.key]) == 1
    assert await store.remove_mark(MARK)
    assert await store.load_meta(META.key) is None


async def test_what_the_disk_refuses_is_told(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("Input/output error")

    for name in ("save_mark", "save_count", "remove_mark", "settle", "remove_meta"):
        monkeypatch.setattr(store._folder, name, fail)
    for name in ("step", "load_meta"):
        monkeypatch.setattr(store._folder.index, name, fail)
    assert not await store.save_mark(MARK)
    assert not await store.save_count()
    assert not await store.remove_mark(MARK)
    assert not await store.remove_meta(META.key)
    assert await store.settle(MARK, [META.key]) is None
    assert await store.step(MARK, "") is None
    assert await store.load_meta(META.key) is None
    assert store.trouble() == "Input/output error"


async def test_closed_it_knows_nothing(store: DiskStore) -> None:
    await store.close()
    assert not await store.save_mark(MARK)
    assert await store.settle(MARK, [META.key]) is None
    assert await store.step(MARK, "") is None
    assert await store.load_meta(META.key) is None
