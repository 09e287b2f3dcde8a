"""Stored responses that are too many go a little at a time."""

import asyncio

import pytest

from edgecache.core.errors import StoreError
from edgecache.store import spare_rows
from edgecache.store.disk import DiskStore
from tests.slices import sliced
from tests.waiting import until


async def save(store: DiskStore, count: int) -> None:
    for number in range(count):
        assert await store.save_meta(sliced(f"{number}.mp4").meta)


class Forgotten:
    """How many went in each change."""

    def __init__(self, store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: list[int] = []
        self.fails = False
        self._forget = store._folder.forget
        monkeypatch.setattr(store._folder, "forget", self)

    def __call__(self, versions: list[str]) -> None:
        self.counts.append(len(versions))
        if self.fails:
            raise StoreError("Read-only file system")
        self._forget(versions)


async def test_one_change_is_of_a_batch(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log would outgrow what is kept free for it, and the writer be busy for seconds."""
    await save(store, 50)
    forgotten = Forgotten(store, monkeypatch)
    store._ledger._spare = 10
    store._spare.forget()
    await until(lambda: sum(forgotten.counts) == 40)
    assert store._folder.batch == 16
    assert forgotten.counts == [16, 16, 8]
    await until(lambda: not store._spare._forgetting)
    loaded = [await store.load_meta(sliced(f"{number}.mp4").meta.key) for number in range(50)]
    assert [number for number, meta in enumerate(loaded) if meta] == list(range(40, 50))


async def test_one_that_comes_again_meanwhile_stays(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(store, 50)
    store._ledger._spare = 10
    store._spare.forget()
    await asyncio.sleep(0)
    again = [sliced(f"{number}.mp4").meta for number in (0, 39)]  # the first goes, the other waits
    assert await asyncio.gather(*map(store.save_meta, again)) == [True, True]
    await until(lambda: not store._spare._forgetting)
    assert [await store.load_meta(meta.key) for meta in again] == again


async def test_what_fails_is_tried_no_further_until_it_is_asked_for_again(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(store, 50)
    forgotten = Forgotten(store, monkeypatch)
    forgotten.fails = True
    store._ledger._spare = 0
    store._spare.forget()
    await until(lambda: not store._spare._forgetting)
    assert forgotten.counts == [16]
    forgotten.fails = False
    store._spare.forget()
    await until(lambda: not store._spare._forgetting)
    assert forgotten.counts == [16, 16, 16, 2]


async def test_they_are_entered_with_answers_between(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start may find a million."""
    monkeypatch.setattr(spare_rows, "STEP", 20)
    await save(store, 50)
    without = store._ledger._without_slices
    without.clear()
    seen: list[int] = []  # by others

    def look() -> None:
        asyncio.get_running_loop().call_soon(lambda: seen.append(len(without)))

    monkeypatch.setattr(store._spare, "forget", look)
    store._spare.learn()
    await until(lambda: len(seen) == 3)
    assert seen == [20, 40, 50]
