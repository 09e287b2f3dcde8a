"""What is marked is cleared up behind, to its end, whatever comes between."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache import purger as purger_module
from edgecache.catalog import Catalog
from edgecache.config import Costs
from edgecache.core.errors import StoreError, Unavailable
from edgecache.core.marks import MOST_MARKS, Kind, Target
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.metrics import Metrics
from edgecache.purger import MOST_NAMED, Purger
from edgecache.store import SliceStore, mark_rows
from edgecache.store.disk import DiskStore
from edgecache.store.memory import MemoryStore
from edgecache.tasks import Tasks
from tests.conftest import FakeClock
from tests.slices import SIZE, sliced
from tests.waiting import until

CAT = Target(Kind.PREFIX, "outputs/cat/")


class Keeper:
    """What a server has for its purges."""

    def __init__(self, store: SliceStore) -> None:
        self.store = store
        self.tasks = Tasks()
        self.metrics = Metrics(Costs())
        self.generations = Generations()
        fills = FillTable(self.tasks, on_end=lambda _: None)
        catalog = Catalog(
            *(store, self.tasks, self.metrics, fills),
            generations=self.generations,
            clock=FakeClock(),
            slice_size=SIZE,
        )
        self.purger = Purger(catalog, store, self.metrics)

    def run(self) -> None:
        self.tasks.spawn(self.purger.run(), name="purger")

    async def swept(self) -> None:
        await until(lambda: not self.store.marks)

    async def close(self) -> None:
        await self.tasks.close()
        await self.store.close()

    @property
    def settled(self) -> bool:
        return all(cell % 2 == 0 for cell in self.generations.cells)


Make = Callable[[], DiskStore]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda: DiskStore(tmp_path, limit=2**30, slice_size=SIZE)


@pytest.fixture(params=["memory", "disk"])
async def keeper(request: pytest.FixtureRequest, make: Make) -> AsyncIterator[Keeper]:
    keeper = Keeper(MemoryStore() if request.param == "memory" else make())
    await keeper.store.start()
    yield keeper
    await keeper.close()


async def fill(store: SliceStore, folder: str, count: int, *tags: str) -> list[ObjectMeta]:
    metas = []
    for number in range(count):
        clip = sliced(f"{folder}/{number:03}.png")
        metas.append(replace(clip.meta, tags=tags))
        assert await store.put(clip.key(), clip.meta, clip.data())
        assert await store.save_meta(metas[-1])
    return metas


async def known(store: SliceStore, metas: list[ObjectMeta]) -> int:
    return len([meta for meta in metas if await store.load_meta(meta.key)])


@pytest.mark.parametrize("target", [CAT, Target(Kind.TAG, "cat"), Target(Kind.ALL)])
async def test_rows_and_slices_go_and_then_the_mark(
    keeper: Keeper, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgecache.purge")
    cats = await fill(keeper.store, "cat", 70, "cat")
    dogs = await fill(keeper.store, "dog", 2, "dog")
    keeper.run()
    await keeper.purger.mark(target, soft=False)
    await keeper.swept()
    left = 0 if target.kind is Kind.ALL else 2
    assert (await known(keeper.store, cats), await known(keeper.store, dogs)) == (0, left)
    assert keeper.store.slices == left
    assert keeper.metrics.total("purged_objects_total", mode="hard") == 72 - left
    assert f"objects={72 - left}" in caplog.text
    assert keeper.settled


async def test_between_two_objects_others_have_their_turn(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, seen = 0, []

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    discard = keeper.store.discard

    def noted(version: str, slices: range) -> None:
        seen.append(turns)
        discard(version, slices)

    monkeypatch.setattr(keeper.store, "discard", noted)
    await fill(keeper.store, "cat", 5)
    keeper.run()
    keeper.tasks.spawn(take_turns(), name="others")
    await keeper.purger.mark(CAT, soft=False)
    await keeper.swept()
    assert len(set(seen)) == 5


async def test_soft_leaves_all_stale_and_every_byte(keeper: Keeper) -> None:
    cats = await fill(keeper.store, "cat", 3)
    keeper.run()
    await keeper.purger.mark(CAT, soft=True)
    await keeper.swept()
    rows = [await keeper.store.load_meta(meta.key) for meta in cats]
    assert rows == [replace(meta, stale=True) for meta in cats]
    assert keeper.store.slices == 3


async def test_a_survey_counts_what_is_there_and_names_some(keeper: Keeper) -> None:
    cats = await fill(keeper.store, "cat", MOST_NAMED + 5)
    await fill(keeper.store, "dog", 1)
    survey = await keeper.purger.survey(CAT)
    assert (survey.objects, survey.bytes) == (len(cats), len(cats) * SIZE)
    assert survey.keys == [meta.key.key for meta in cats[:MOST_NAMED]]
    await keeper.purger.mark(CAT, soft=False)
    assert (await keeper.purger.survey(CAT)).objects == 0  # though nothing was cleared up yet


async def test_one_purge_too_many_does_nothing(keeper: Keeper) -> None:
    for _ in range(MOST_MARKS):
        keeper.store.marks.add(CAT, soft=True)
    with pytest.raises(Unavailable):
        await keeper.purger.mark(Target(Kind.ALL), soft=False)
    assert len(keeper.store.marks) == MOST_MARKS


async def test_what_the_disk_refuses_is_in_force_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purger_module, "LOOK_EVERY", 0.001)
    store = MemoryStore()
    keeper = Keeper(store)
    cats = await fill(store, "cat", 2)
    keeper.run()
    store.failing = True
    with pytest.raises(StoreError):
        await keeper.purger.mark(CAT, soft=False)
    assert store.marks.judged(cats[0]) is None
    assert keeper.generations.cells[0] % 2 == 1  # nobody else may go by the disk
    other = Target(Kind.PREFIX, "outputs/dog/")
    store.failing = False
    await keeper.purger.mark(other, soft=False)
    await keeper.swept()
    assert keeper.settled
    assert await known(store, cats) == 0
    await keeper.close()


async def test_another_purge_does_not_vouch_for_one_that_the_disk_does_not_know() -> None:
    store = MemoryStore()
    keeper = Keeper(store)
    store.failing = True
    with pytest.raises(StoreError):
        await keeper.purger.mark(CAT, soft=False)
    store.failing = False
    await keeper.purger.mark(Target(Kind.TAG, "dog"), soft=False)
    assert not keeper.settled
    await keeper.close()


async def test_a_keeper_that_died_half_way_is_taken_over_from(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mark_rows, "MOST_FOUND", 4)
    keeper = Keeper(make())
    await keeper.store.start()
    cats, dogs = await fill(keeper.store, "cat", 20), await fill(keeper.store, "dog", 2)
    settle, steps = keeper.store.settle, 0

    async def die(*args: object) -> int | None:
        nonlocal steps
        steps += 1
        if steps == 3:
            await asyncio.Event().wait()
        return await settle(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(keeper.store, "settle", die)
    keeper.run()
    await keeper.purger.mark(CAT, soft=False)
    await until(lambda: steps == 3)
    await keeper.close()

    keeper = Keeper(make())
    await keeper.store.start()
    assert await known(keeper.store, cats) == 12
    assert all(keeper.store.marks.judged(meta) is None for meta in cats)
    keeper.run()
    await keeper.swept()
    assert (await known(keeper.store, cats), await known(keeper.store, dogs)) == (0, 2)
    await keeper.close()
    keeper = Keeper(make())
    await keeper.store.start()
    assert (keeper.store.marks.last, len(keeper.store.marks), keeper.store.slices) == (1, 0, 2)
    await keeper.close()


async def test_what_is_asked_for_again_meanwhile_stays(keeper: Keeper) -> None:
    cats = await fill(keeper.store, "cat", 3)
    mark = await keeper.purger.mark(CAT, soft=False)
    again = replace(cats[1], epoch=mark.number, era=mark.number)
    assert again.version != cats[1].version
    await keeper.store.save_meta(again)
    keeper.run()
    await keeper.swept()
    assert await keeper.store.load_meta(again.key) == again
    assert await known(keeper.store, cats) == 1


async def test_a_store_that_cannot_be_read_or_written_is_told(make: Make) -> None:
    keeper = Keeper(make())
    mark = keeper.store.marks.add(CAT, soft=False)
    with pytest.raises(StoreError):
        await keeper.purger.survey(CAT)
    assert await keeper.store.settle(mark, [ObjectKey("o", "k")]) is None
    assert not await keeper.store.save_mark(mark)
    assert not await keeper.store.save_count()
    assert not await keeper.store.remove_mark(mark)
    await keeper.close()
