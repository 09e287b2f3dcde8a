"""What was purged while its row was being read is not known again. (All else of the catalog shows
in the conformance suites.)"""

import asyncio
from dataclasses import replace

import pytest

from edgecache.catalog import Catalog
from edgecache.config import Costs
from edgecache.core.index import Route
from edgecache.core.marks import Kind, Mark, Target
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.metrics import Metrics
from edgecache.store.memory import MemoryStore
from edgecache.tasks import Tasks
from tests.conftest import FakeClock
from tests.slices import meta_of
from tests.waiting import until

ROUTE = Route(label="/", ttl=60, browser_ttl=60)


class SlowStore(MemoryStore):
    """Every row that is read, and every removal, takes until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.reading = self.removing = 0

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        found = await super().load_meta(key)
        self.reading += 1
        await self.gate.wait()
        return found

    async def remove_meta(self, key: ObjectKey) -> bool:
        self.removing += 1
        await self.gate.wait()
        return await super().remove_meta(key)

    async def save_mark(self, mark: Mark) -> bool:
        self.removing += 1
        await self.gate.wait()
        return await super().save_mark(mark)


@pytest.mark.parametrize("everything", [False, True], ids=["key", "all"])
@pytest.mark.parametrize("first", ["look", "purge"])
async def test_a_row_that_is_read_during_a_purge_is_not_believed(
    everything: bool, first: str
) -> None:
    clock, store, tasks = FakeClock(), SlowStore(), Tasks()
    now = clock()
    meta = replace(meta_of("a.webp"), date=int(now), request_time=now, response_time=now)
    await store.save_meta(meta)
    catalog = Catalog(
        store,
        tasks,
        Metrics(Costs()),
        FillTable(tasks, on_end=lambda _: None),
        generations=Generations(),
        clock=clock,
        slice_size=2**16,
    )

    async def purge() -> None:
        if everything:
            await catalog.mark(Target(Kind.ALL), soft=False)
        else:
            await catalog.purge(meta.key)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        if first == "purge":
            group.create_task(purge())
            await until(lambda: bool(store.reading or store.removing))
        looking = group.create_task(catalog.get(meta.key, ROUTE))
        await asyncio.sleep(0)
        if first == "look":
            group.create_task(purge())
            await asyncio.sleep(0)
        store.gate.set()
    assert looking.result() is None
    assert await catalog.get(meta.key, ROUTE) is None
    assert catalog.hit(meta.key) is None
    await tasks.close()
