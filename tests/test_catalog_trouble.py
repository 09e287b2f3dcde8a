"""What the disk could not be told it is told later; until then what it says is not believed."""

from dataclasses import replace

import pytest

from edgecache import untold
from edgecache.catalog import Catalog
from edgecache.config import Costs
from edgecache.core.errors import StoreError
from edgecache.core.index import Route, StoredResponse
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
KEY = ObjectKey("runpod", "a.webp")


class Known:
    """A catalog over a store that can be made to fail."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.tasks = Tasks()
        self.generations = Generations()
        self.catalog = Catalog(
            self.store,
            self.tasks,
            Metrics(Costs()),
            FillTable(self.tasks, on_end=lambda _: None),
            generations=self.generations,
            clock=self.clock,
            slice_size=1000,
        )

    def meta(self, etag: str = '"v1"', key: str = KEY.key) -> ObjectMeta:
        now = self.clock()
        return replace(meta_of(key, etag=etag), date=int(now), request_time=now, response_time=now)

    async def put(self, meta: ObjectMeta) -> None:
        self.catalog.put(meta, ROUTE)
        await self.at_rest()

    async def at_rest(self) -> None:
        await until(lambda: not len(self.tasks))

    async def etag(self) -> str:
        found = await self.catalog.get(KEY, ROUTE)
        return found.meta.etag if isinstance(found, StoredResponse) else ""

    async def stored(self) -> str:
        meta = await self.store.load_meta(KEY)
        return meta.etag if meta else ""

    @property
    def is_settled(self) -> bool:
        return self.generations.cells[self.generations.slot(KEY)] % 2 == 0


@pytest.fixture
async def known() -> Known:
    known = Known()
    await known.put(known.meta())
    assert (await known.stored(), known.is_settled) == ('"v1"', True)
    known.store.failing = True
    return known


async def test_a_row_that_could_not_be_written_is_written_later(known: Known) -> None:
    await known.put(known.meta('"v2"'))
    await known.catalog.tell_rows()
    assert (await known.stored(), known.is_settled) == ('"v1"', False)
    known.store.failing = False
    await known.catalog.tell_rows()
    assert (await known.stored(), known.is_settled) == ('"v2"', True)


async def test_a_row_that_could_not_be_replaced_is_not_believed(known: Known) -> None:
    await known.put(known.meta('"v2"'))
    known.catalog.forget()
    assert await known.etag() == ""
    known.store.failing = False
    await known.catalog.tell_rows()
    assert (await known.stored(), await known.etag(), known.is_settled) == ("", "", True)


async def test_a_row_that_could_not_be_removed_is_removed_later(known: Known) -> None:
    """The origin has another version by now: the old one may not come back."""
    stored = await known.catalog.get(KEY, ROUTE)
    assert isinstance(stored, StoredResponse)
    known.catalog.replaced(stored, known.catalog.hard_purges.count)
    await known.at_rest()
    assert (await known.stored(), await known.etag()) == ('"v1"', "")
    known.store.failing = False
    assert await known.etag() == ""
    await known.catalog.tell_rows()
    assert (await known.stored(), known.is_settled) == ("", True)


async def test_a_purge_that_failed_is_made_good(known: Known) -> None:
    with pytest.raises(StoreError):
        await known.catalog.purge(KEY)
    known.store.failing = False
    assert (await known.stored(), await known.etag(), known.is_settled) == ('"v1"', "", False)
    await known.catalog.tell_rows()
    assert (await known.stored(), known.is_settled) == ("", True)
    await known.put(known.meta('"v2"'))
    assert (await known.stored(), known.is_settled) == ('"v2"', True)


async def test_of_too_many_none_is_remembered_and_all_rows_go(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known.catalog._untold, "_most", 3)
    for number in range(5):
        await known.put(known.meta(key=f"{number}.webp"))
    known.catalog.forget()
    assert await known.etag() == ""  # though nothing was to be told of that one
    assert not known.is_settled
    known.store.failing = False
    await known.catalog.tell_rows()
    assert (await known.stored(), known.is_settled) == ("", True)
    assert untold.MOST >= 10_000


async def test_rows_that_cannot_go_are_tried_again(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trouble is back before anybody was told of it."""
    monkeypatch.setattr(known.catalog._untold, "_most", 0)
    with pytest.raises(StoreError):
        await known.catalog.purge(KEY)
    monkeypatch.setattr(known.store, "trouble", lambda: "")
    await known.catalog.tell_rows()
    assert (await known.etag(), known.is_settled) == ("", False)
    known.store.failing = False
    await known.catalog.tell_rows()
    assert (await known.stored(), known.is_settled) == ("", True)
