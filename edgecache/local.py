"""What a worker answers by itself: fresh and covered, from memory or disk. Rule: no aiohttp here,
and nothing of the origin; None means that the keeper is to answer.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import chain, islice

from edgecache.body import begun
from edgecache.core.answer import answer_fields, body_length
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import StoreError, UpstreamError, VersionChanged
from edgecache.core.index import StoredResponse
from edgecache.core.model import ByteSpan, Result, SliceKey, Source
from edgecache.core.plan import Plan, plan_answer
from edgecache.core.ranges import slice_span, slices_of
from edgecache.hits import MOST_AT_HAND
from edgecache.request import Answer, ObjectRequest, Piece
from edgecache.shelf import Shelf
from edgecache.slice_buffer import PIECE
from edgecache.store import Bytes
from edgecache.store.reader import ReadStore

# Answers of up to so many slices are found to be covered by opening them.
MOST_OPENED = 2

# Gives bytes of one version of an object from elsewhere; raises VersionChanged if there is another
# version now. It is closed by whoever leaves before its end.
Elsewhere = Callable[[StoredResponse, ByteSpan], AsyncGenerator[Bytes, None]]


class Local:
    def __init__(
        self,
        shelf: Shelf,
        store: ReadStore,
        elsewhere: Elsewhere,
        *,
        slice_size: int,
        token: Callable[[], str],
    ) -> None:
        self._shelf = shelf
        self._store = store
        self._elsewhere = elsewhere
        self._slice_size = slice_size
        self._token = token

    async def answer(self, request: ObjectRequest) -> Answer | None:
        """The answer to a GET or HEAD, whose body then comes to its end.

        :raises EdgecacheError: it turned out that it can't be answered, not here either.
        """
        stored = await self._shelf.find(request.key, request.route)
        if stored is None:
            return None
        plan = plan_answer(request.method, request.headers, stored.meta)
        if request.method == "GET" and not await self._covers(stored, plan):
            return None
        age = stored.age(self._shelf.clock())
        cache_status = format_cache_status(CacheStatus(hit=True, ttl=int(stored.lifetime - age)))
        boundary = self._token() if len(plan.spans) > 1 else ""
        fields = answer_fields(stored, plan, boundary)
        fields += [("Age", str(int(age))), ("Cache-Status", cache_status)]
        first, body = None, None
        if request.method == "GET" and any(plan.spans):
            try:
                first, body = await begun(
                    stored, plan, boundary, lambda span: self._pieces(stored, span)
                )
            except VersionChanged:
                return None  # nothing was sent yet
        return Answer(
            status=plan.status,
            fields=fields,
            length=body_length(stored, plan, boundary),
            result=Result.HIT,
            cache_status=cache_status,
            first=first,
            body=body,
        )

    async def _covers(self, stored: StoredResponse, plan: Plan) -> bool:
        needed = [slices_of(span, self._slice_size) for span in plan.spans]
        if sum(map(len, needed)) > MOST_OPENED:
            there = await self._store.slices(stored.version)
            # Lengths first: a range may name more slices than there is time to look at.
            if any(len(some) > len(there) or not there.issuperset(some) for some in needed):
                return False
        for number in islice(chain(*needed), MOST_OPENED):  # what the answer begins with
            if await self._store.open(SliceKey(stored.version, number), stored.meta) is None:
                return False
        return True

    async def _pieces(self, stored: StoredResponse, span: ByteSpan) -> AsyncGenerator[Piece, None]:
        numbers = slices_of(span, self._slice_size)
        # What is short goes out slice by slice, as where memory has it: each write costs.
        most = self._slice_size if len(numbers) <= MOST_AT_HAND else PIECE
        for number in numbers:
            whole = slice_span(number, self._slice_size, stored.meta.length)
            start, stop = max(span.start, whole.start), min(span.stop, whole.stop)
            while start < stop:
                data = await self._read(stored, number, start, min(stop, start + most))
                if data is None:  # it was evicted meanwhile: the rest of all comes from elsewhere
                    rest = ByteSpan(start, span.stop)
                    async with aclosing(self._elsewhere(stored, rest)) as pieces:
                        async for data in pieces:
                            yield None, data
                            start += len(data)
                    if start != span.stop:
                        raise UpstreamError("the rest of the answer came short")
                    return
                yield Source.CACHE, data
                start += len(data)

    async def _read(
        self, stored: StoredResponse, number: int, start: int, stop: int
    ) -> Bytes | None:
        """Holds the slice no longer than it reads, so that its file can go at any time."""
        opened = await self._store.open(SliceKey(stored.version, number), stored.meta)
        if opened is None:
            return None
        base = number * self._slice_size
        data = opened.read_nowait(start - base, stop - base)
        if data is not None:
            return data
        try:
            return await opened.read(start - base, stop - base)
        except StoreError:
            return None
