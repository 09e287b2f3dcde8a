import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.index import Route
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.generations import Generations
from edgecache.shelf import Shelf
from edgecache.store.reader import ReadStore
from tests.conftest import FakeClock
from tests.slices import meta_of

ROUTE = Route(label="/", ttl=60, browser_ttl=60)


class Rows(ReadStore):
    """Rows in a dict; shut, the gate holds up every load after it has read its row."""

    def __init__(self) -> None:
        self.rows: dict[ObjectKey, ObjectMeta] = {}
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        self.loads += 1
        found = self.rows.get(key)
        await self.gate.wait()
        return found


class Bench:
    def __init__(self, limit: int = 10) -> None:
        self.clock = FakeClock()
        self.rows = Rows()
        self.generations = Generations()
        self.shelf = Shelf(self.rows, self.generations, clock=self.clock, limit=limit)

    def meta(self, name: str = "clip.mp4", etag: str = '"a"') -> ObjectMeta:
        now = self.clock()
        meta = meta_of(name, etag=etag)
        return replace(meta, date=int(now), request_time=now, response_time=now)

    def write(self, meta: ObjectMeta) -> ObjectMeta:
        """As the keeper does."""
        settle = self.generations.begin(meta.key)
        self.rows.rows[meta.key] = meta
        settle()
        return meta

    async def find(self, meta: ObjectMeta) -> ObjectMeta | None:
        stored = await self.shelf.find(meta.key, ROUTE)
        assert self.shelf.hit(meta.key) is stored
        return None if stored is None else stored.meta


async def test_what_was_found_is_remembered() -> None:
    bench = Bench()
    meta = bench.write(bench.meta())
    assert bench.shelf.hit(meta.key) is None
    for _ in range(3):
        assert await bench.find(meta) == meta
    assert bench.rows.loads == 1


async def test_what_is_not_there_is_looked_for_each_time() -> None:
    bench = Bench()
    meta = bench.meta()
    assert await bench.find(meta) is None
    bench.rows.rows[meta.key] = meta
    assert await bench.find(meta) == meta


async def test_a_change_is_known_when_it_is_on_disk() -> None:
    bench = Bench()
    old = bench.write(bench.meta())
    assert await bench.find(old) == old
    settle = bench.generations.begin(old.key)
    assert await bench.find(old) is None
    new = bench.meta(etag='"b"')
    bench.rows.rows[old.key] = new
    assert await bench.find(old) is None
    assert bench.rows.loads == 1  # nobody looks meanwhile
    settle()
    assert await bench.find(old) == new
    del bench.rows.rows[old.key]
    bench.generations.begin(old.key)()
    assert await bench.find(old) is None


async def test_a_change_that_never_gets_to_the_disk_is_never_known() -> None:
    bench = Bench()
    meta = bench.write(bench.meta())
    bench.generations.begin(meta.key)
    assert await bench.find(meta) is None
    bench.generations.renew()
    assert await bench.find(meta) is None
    memory = bench.generations.cells.obj
    assert isinstance(memory, bytearray)
    Generations(memory).renew()  # a new keeper, which knows what the disk says
    assert await bench.find(meta) == meta


@pytest.mark.parametrize("settled", [False, True])
async def test_what_was_loaded_while_a_change_came_is_dropped(settled: bool) -> None:
    bench = Bench()
    old = bench.write(bench.meta())
    bench.rows.gate.clear()
    finding = asyncio.gather(bench.shelf.find(old.key, ROUTE))
    await asyncio.sleep(0)
    settle = bench.generations.begin(old.key)
    bench.rows.rows[old.key] = new = bench.meta(etag='"b"')
    if settled:
        settle()
    bench.rows.gate.set()
    assert (await finding)[0] is None
    assert bench.shelf.hit(old.key) is None
    settle()
    assert await bench.find(old) == new


async def test_another_objects_change_in_the_same_group_costs_a_look_only() -> None:
    bench = Bench()
    meta = bench.write(bench.meta())
    slot = Generations.slot(meta.key)
    other = next(
        key
        for key in (ObjectKey("runpod", f"{number}") for number in range(10**6))
        if Generations.slot(key) == slot
    )
    assert await bench.find(meta) == meta
    settle = bench.generations.begin(other)
    assert await bench.find(meta) is None
    settle()
    assert await bench.find(meta) == meta
    assert bench.rows.loads == 2


async def test_what_is_stale_is_not_given_and_not_read_again() -> None:
    bench = Bench()
    old = bench.write(bench.meta())
    assert await bench.find(old) == old
    bench.clock.advance(60)
    for _ in range(3):
        assert await bench.find(old) is None
    assert bench.rows.loads == 1
    new = bench.write(bench.meta())
    assert await bench.find(old) == new
    assert bench.rows.loads == 2


async def test_what_is_stale_on_disk_is_read_once() -> None:
    bench = Bench()
    meta = bench.write(bench.meta())
    bench.clock.advance(60)
    for _ in range(3):
        assert await bench.find(meta) is None
    assert bench.rows.loads == 1


async def test_many_that_ask_at_once_get_the_same() -> None:
    bench = Bench()
    meta = bench.write(bench.meta())
    bench.rows.gate.clear()
    finding = asyncio.gather(*(bench.shelf.find(meta.key, ROUTE) for _ in range(10)))
    await asyncio.sleep(0)
    bench.rows.gate.set()
    assert {found and found.meta for found in await finding} == {meta}
    assert len(bench.shelf._known) == 1


async def test_it_is_bounded_and_the_least_used_goes() -> None:
    bench = Bench(limit=3)
    metas = [bench.write(bench.meta(f"{number}.mp4")) for number in range(4)]
    for meta in metas[:3]:
        await bench.find(meta)
    assert bench.shelf.hit(metas[0].key) is not None
    await bench.find(metas[3])
    assert [bench.shelf.hit(meta.key) is not None for meta in metas] == [True, False, True, True]


async def test_over_a_real_folder_without_one_nothing_is_known(tmp_path: Path) -> None:
    store = ReadStore(tmp_path, slice_size=1000, most_open=1)
    shelf = Shelf(store, Generations(), clock=FakeClock())
    assert await shelf.find(ObjectKey("runpod", "clip.mp4"), ROUTE) is None
    await store.close()
