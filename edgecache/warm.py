"""Objects brought into the store before a viewer asks for them. Rule: viewers go first.

A warm fill is a fill like any other, with a reader that throws its bytes away: what a viewer is
fetching already is joined, and what a viewer asks for meanwhile joins it. But warming has at most
a quarter of the origin's connections, begins nothing while viewers have half of them, and evicts
nothing unless it is told to.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from edgecache.catalog import Catalog
from edgecache.core.errors import EdgecacheError, NotFound, VersionChanged
from edgecache.core.index import Route, StoredResponse, Uncacheable
from edgecache.core.model import ByteSpan, NotStored, ObjectKey, Reason, SliceKey, Warmed
from edgecache.core.plan import plan_answer
from edgecache.core.ranges import parse_range, slices_of
from edgecache.lookup import Lookup
from edgecache.origins import Origins
from edgecache.request import ObjectRequest, Use
from edgecache.store import SliceStore
from edgecache.stream import Streams

# An object that is replaced faster than it is looked at this often can't be warmed.
ATTEMPTS = 3
# What a slice takes on the disk besides its bytes, at most.
OVERHEAD = 2**13
# So many slices are looked for before others have a turn on the event loop.
LOOKED_FOR_AT_ONCE = 2**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object, or the slices that the ranges of `range` touch: a Range field, "" is all of it.

    `most` is how many bytes to buy now, or a run more; `evicts`: for others' room, too.
    """

    key: ObjectKey
    route: Route
    range: str = ""
    most: int = 2**62
    evicts: bool = False


@dataclass(slots=True)
class Outcome:
    """`bytes` came into the store."""

    result: Warmed = Warmed.MORE
    bytes: int = 0
    detail: str = ""


class Warmer:
    def __init__(
        self,
        catalog: Catalog,
        lookup: Lookup,
        streams: Streams,
        store: SliceStore,
        origins: Origins,
    ) -> None:
        self._catalog = catalog
        self._lookup = lookup
        self._streams = streams
        self._store = store
        self._origins = origins
        self._turns = {
            name: asyncio.Semaphore(max(1, origins.queue(name).limit // 4))
            for name in origins.names
        }
        self._longest = max(1, streams.sizes.max_run // streams.sizes.slice_size)  # run, in slices
        self._coming = 0  # room that running turns will take

    async def warm(self, wanted: Wanted, until: float) -> Outcome:
        """What became of it up to the loop's time `until`; asked again, it goes on from there."""
        if wanted.range and parse_range(wanted.range) is None:
            return Outcome(Warmed.BAD_RANGE)
        outcome = Outcome()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                outcome.result = await self._try(wanted, outcome)
        return outcome

    async def _try(self, wanted: Wanted, outcome: Outcome) -> Warmed:
        try:
            for _ in range(ATTEMPTS):
                with suppress(VersionChanged):
                    return await self._warm(wanted, outcome)
            outcome.detail = "the object is replaced faster than it can be read"
        except NotFound:
            return Warmed.NOT_FOUND
        except EdgecacheError as error:
            outcome.detail = error.message
        return Warmed.ERROR

    async def _warm(self, wanted: Wanted, outcome: Outcome) -> Warmed:
        purges = self._catalog.hard_purges.count
        known = await self._catalog.get(wanted.key, wanted.route)
        if isinstance(known, StoredResponse) and known.is_fresh(self._catalog.clock()):
            done = await self._bring(wanted, Use(known, wanted.route, purges), outcome)
            return Warmed.HIT if done is Warmed.STORED and not outcome.bytes else done
        stale = known if isinstance(known, StoredResponse) else None
        is_full = not self._has_room(wanted, self._streams.sizes.max_run, self._longest)
        if is_full and (stale is None or await self._has_gap(stale, self._spans(wanted, stale))):
            return Warmed.NO_ROOM
        before = stale.version if stale else ""
        async with self._turn(wanted.key.origin):
            stored = await self._ask(wanted)
            if stored is None:
                return await self._not_stored(wanted)
            spans = self._spans(wanted, stored)
            if (refused := self._refused(stored, spans)) is not None:
                return refused
            if stored.version != before:
                outcome.bytes += self._landed(stored, spans)
            use = Use(stored, wanted.route, purges)
            # In the same turn: what has begun to come in has a reader at once.
            async with aclosing(self._gaps(stored, spans)) as gaps:
                async for gap in gaps:
                    if (refused := await self._keep(wanted, use, gap, outcome)) is not None:
                        return refused
                    break
        done = await self._bring(wanted, use, outcome)
        was_there = stored.version == before and not outcome.bytes
        return Warmed.REVALIDATED if done is Warmed.STORED and was_there else done

    async def _ask(self, wanted: Wanted) -> StoredResponse | None:
        request = ObjectRequest(
            method="GET",
            key=wanted.key,
            route=wanted.route,
            headers={"Range": wanted.range} if wanted.range else {},
            reason=Reason.WARM,
        )
        return (await self._lookup.find(request)).stored

    async def _not_stored(self, wanted: Wanted) -> Warmed:
        known = await self._catalog.get(wanted.key, wanted.route)
        is_new = isinstance(known, Uncacheable) and known.why is NotStored.UNSETTLED
        return Warmed.MORE if is_new else Warmed.NOT_STORABLE

    async def _bring(self, wanted: Wanted, use: Use, outcome: Outcome) -> Warmed:
        stored = use.stored
        spans = self._spans(wanted, stored)
        if (refused := self._refused(stored, spans)) is not None:
            return refused
        async with aclosing(self._gaps(stored, spans)) as gaps:
            async for gap in gaps:
                if outcome.bytes >= wanted.most:
                    return Warmed.MORE
                async with self._turn(wanted.key.origin):
                    refused = await self._keep(wanted, use, gap, outcome)
                if refused is not None:
                    return refused
        return Warmed.STORED

    async def _keep(self, wanted: Wanted, use: Use, gap: range, outcome: Outcome) -> Warmed | None:
        """Has one run of slices stored; says why it is not."""
        size = self._size_of(use.stored, gap)
        if not self._has_room(wanted, size, len(gap)):
            return Warmed.NO_ROOM
        self._coming += size
        try:
            if not await self._streams.keep(use, gap, Reason.WARM):
                outcome.detail = self._store.trouble()
                return Warmed.NOT_STORED
        finally:
            self._coming -= size
            outcome.bytes += self._there(use.stored, gap)
        return None

    @asynccontextmanager
    async def _turn(self, origin: str) -> AsyncIterator[None]:
        """A turn at warming, once viewers leave enough of the origin. Not in the origin's queue: a
        viewer who joins what waits there would wait behind those who came later."""
        queue = self._origins.queue(origin)
        async with self._turns[origin]:
            await queue.viewers_below(max(1, queue.limit // 2))
            yield

    def _has_room(self, wanted: Wanted, size: int, slices: int) -> bool:
        return wanted.evicts or self._coming + size + slices * OVERHEAD <= self._store.room

    def _spans(self, wanted: Wanted, stored: StoredResponse) -> tuple[ByteSpan, ...]:
        headers = {"Range": wanted.range} if wanted.range else {}
        return plan_answer("GET", headers, stored.meta).spans

    def _refused(self, stored: StoredResponse, spans: tuple[ByteSpan, ...]) -> Warmed | None:
        if stored.meta.length and not spans:
            return Warmed.BAD_RANGE
        return Warmed.TOO_LARGE if sum(map(len, spans)) > self._store.limit else None

    def _landed(self, stored: StoredResponse, spans: tuple[ByteSpan, ...]) -> int:
        """Bytes that came with the origin's first answer and are stored by now."""
        if not spans:
            return 0
        numbers = slices_of(spans[0], self._streams.sizes.slice_size)
        return self._there(stored, numbers[: self._longest])

    def _there(self, stored: StoredResponse, numbers: range) -> int:
        """Bytes of those slices that are stored."""
        there = (n for n in numbers if self._store.has(SliceKey(stored.version, n)))
        return sum(self._size_of(stored, range(n, n + 1)) for n in there)

    async def _gaps(
        self, stored: StoredResponse, spans: tuple[ByteSpan, ...]
    ) -> AsyncGenerator[range, None]:
        """The slices that are not there, in runs of at most `max_run` bytes."""
        size = self._streams.sizes.slice_size
        for span in spans:
            first = -1  # of the run that is being looked at
            numbers = slices_of(span, size)
            for number in numbers:
                if number % LOOKED_FOR_AT_ONCE == 0:
                    await asyncio.sleep(0)
                absent = not self._store.has(SliceKey(stored.version, number))
                if absent and first < 0:
                    first = number
                if first >= 0 and (not absent or number - first == self._longest):
                    yield range(first, number)
                    first = number if absent else -1
            if first >= 0:
                yield range(first, numbers.stop)

    async def _has_gap(self, stored: StoredResponse, spans: tuple[ByteSpan, ...]) -> bool:
        async with aclosing(self._gaps(stored, spans)) as gaps:
            return await anext(gaps, None) is not None

    def _size_of(self, stored: StoredResponse, numbers: range) -> int:
        size = self._streams.sizes.slice_size
        return min(numbers.stop * size, stored.meta.length) - numbers.start * size
