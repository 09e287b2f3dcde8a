"""Everything behind the web layer, without sockets: each await is a turn of the loop.

Rule of this module: an upstream and a store that suspend wherever real ones may, and that know
what of theirs is still open. So a test can stop a reader, or everything, at each await in turn.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field

from edgecache.catalog import Catalog
from edgecache.config import Costs
from edgecache.config_fetch import Fetch
from edgecache.core.errors import EdgecacheError, RangeNotSatisfiable, UpstreamError
from edgecache.core.index import Route
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta, SliceKey
from edgecache.core.plan import RunSizes
from edgecache.core.ranges import RangeSpec, select
from edgecache.core.reply import Found, NotModified
from edgecache.engine import Engine
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.lookup import Lookup
from edgecache.metrics import Metrics
from edgecache.origins import Origins
from edgecache.passthrough import Passthrough
from edgecache.readahead import Readahead
from edgecache.request import ObjectRequest
from edgecache.store import Bytes
from edgecache.store.memory import MemorySlice, MemoryStore
from edgecache.stream import Streams
from edgecache.tasks import Tasks
from edgecache.upstream import Body
from tests.conftest import FakeClock
from tests.pattern import Pattern
from tests.waiting import until

SIZE = 1000  # of a slice
PIECE = 300  # of what a body gives at a time
KEY = ObjectKey("volume", "outputs/clip.mp4")
ROUTE = Route(label="/", ttl=60, browser_ttl=60)


async def turn() -> None:
    await asyncio.sleep(0)


class OpenBody:
    unread = 0

    def __init__(self, upstream: "TurningUpstream", data: bytes) -> None:
        self._upstream = upstream
        self._data = data
        upstream.open.add(self)

    async def read(self) -> bytes:
        await turn()
        self._upstream.count()
        data, self._data = self._data[:PIECE], self._data[PIECE:]
        return data

    def close(self) -> None:
        self._upstream.open.discard(self)


class TurningUpstream:
    """An origin with one object; `fail_at` is the number of the step that fails."""

    def __init__(self, clock: FakeClock) -> None:
        self.data = Pattern(6 * SIZE - 10)
        self.etag = '"a"'
        self.fields: tuple[tuple[str, str], ...] = ()
        self.open: set[OpenBody] = set()
        self.fail_at = -1
        self.steps = 0
        self._clock = clock

    def count(self) -> None:
        self.steps += 1
        if self.steps == self.fail_at:
            raise UpstreamError("failed as told")

    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        if_match: str = "",
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        await turn()
        self.count()
        await turn()
        now, length = self._clock(), self.data.length
        if if_none_match == self.etag:
            return NotModified({}, now, now), OpenBody(self, b"")
        span = select(range_, length) if range_ else ByteSpan(0, length)
        if span is None:
            raise RangeNotSatisfiable(length)
        meta = ObjectMeta(
            key=key,
            etag=self.etag,
            origin_etag=self.etag,
            length=length,
            last_modified=None,
            date=int(now),
            request_time=now,
            response_time=now,
            headers=self.fields,
        )
        found = Found(status=206, meta=meta, span=span, fields=dict(self.fields))
        return found, OpenBody(self, self.data.read(span.start, span.stop))

    async def close(self) -> None:
        self.open.clear()


class TurningSlice(MemorySlice):
    async def read(self, start: int, stop: int) -> Bytes:
        await turn()
        return await super().read(start, stop)


class TurningStore(MemoryStore):
    """`refuse_at` is the number of the write that it refuses, -2: all."""

    def __init__(self) -> None:
        super().__init__()
        self.cold = True
        self.refuse_at = -1
        self.writes = 0

    async def open(self, key: SliceKey, meta: ObjectMeta) -> MemorySlice | None:
        await turn()
        found = await super().open(key, meta)
        return found and TurningSlice(found._data, self)

    async def put(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        await turn()
        self.writes += 1
        if self.refuse_at in (self.writes, -2):
            return False
        await turn()
        return await super().put(key, meta, data)

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        await turn()
        return await super().load_meta(key)

    async def save_meta(self, meta: ObjectMeta) -> bool:
        await turn()
        return await super().save_meta(meta)


@dataclass
class Stack:
    clock: FakeClock = field(default_factory=FakeClock)
    route: Route = ROUTE

    def __post_init__(self) -> None:
        self.tasks = Tasks()
        self.metrics = Metrics(Costs())
        self.store = TurningStore()
        self.upstream = TurningUpstream(self.clock)
        once = Fetch(retries=0)  # what an error leaves behind is looked at, not what mends it
        origins = Origins({"volume": self.upstream}, self.metrics, fetch=once)
        self.fills = FillTable(self.tasks, on_end=lambda _: None)
        catalog = Catalog(
            self.store,
            self.tasks,
            self.metrics,
            self.fills,
            generations=Generations(),
            clock=self.clock,
            slice_size=SIZE,
        )
        sizes = RunSizes(slice_size=SIZE, first_run=2 * SIZE, image_run=SIZE, max_run=3 * SIZE)
        self.readahead = Readahead(self.clock)
        streams = Streams(
            self.store, self.fills, origins, catalog, sizes, self.tasks, self.readahead
        )
        self.lookup = Lookup(catalog, origins, streams, self.tasks, negative_ttl=10)
        through = Passthrough(self.lookup, self.metrics)
        self.engine = Engine(
            catalog, self.lookup, streams, through, self.metrics, token=lambda: "boundary"
        )

    async def read(self, range_: str = "") -> bytes:
        """The body, as a client that takes a turn for each piece of it gets it."""
        headers = {"Range": range_} if range_ else {}
        request = ObjectRequest(method="GET", key=KEY, route=self.route, headers=headers)
        answer = await self.engine.answer(request)
        if answer.body is None or answer.first is None:
            return b""
        async with aclosing(answer.body):
            data = bytes(answer.first[1])
            await turn()
            async for _, piece in answer.body:
                data += piece
                await turn()
        return data

    async def failed_or_read(self) -> bytes | None:
        try:
            return await self.read()
        except EdgecacheError:
            return None

    async def at_rest(self) -> None:
        await until(lambda: not len(self.tasks))
        await turn()

    def leftovers(self) -> dict[str, object]:
        """What should have gone when nothing runs any more."""
        return {
            name: one
            for name, one in {
                "tasks": len(self.tasks),
                "fills": len(self.fills),
                "openings": len(self.lookup._openings),
                "bodies": len(self.upstream.open),
                "in flight": self.metrics.total("origin_inflight"),
            }.items()
            if one
        }
