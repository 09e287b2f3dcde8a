"""What a worker answers by itself: fresh and covered, from memory or disk. Rule: no aiohttp here,
and nothing of the origin; None means that the keeper is to answer.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from edgecache.body import begun
from edgecache.core.answer import answer_fields, body_length
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import StoreError
from edgecache.core.index import StoredResponse
from edgecache.core.model import ByteSpan, Result, SliceKey, Source
from edgecache.core.plan import Plan, plan_answer
from edgecache.core.ranges import slice_span, slices_of
from edgecache.fill import PIECE
from edgecache.request import Answer, ObjectRequest, Piece
from edgecache.shelf import Shelf
from edgecache.store import Bytes
from edgecache.store.reader import ReadStore

# Answers of up to so many slices are found to be covered by opening them.
MOST_OPENED = 2

# Gives bytes of one version of an object from elsewhere; raises if there is another version now.
Elsewhere = Callable[[StoredResponse, ByteSpan], AsyncIterator[Bytes]]


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
            first, body = await begun(
                stored, plan, boundary, lambda span: self._pieces(stored, span)
            )
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
        numbers = [n for span in plan.spans for n in slices_of(span, self._slice_size)]
        if len(numbers) > MOST_OPENED:
            there = await self._store.slices(stored.version)
            if not there.issuperset(numbers):
                return False
        for number in numbers[:MOST_OPENED]:  # of many, those that the answer begins with
            if await self._store.open(SliceKey(stored.version, number), stored.meta) is None:
                return False
        return True

    async def _pieces(self, stored: StoredResponse, span: ByteSpan) -> AsyncGenerator[Piece, None]:
        for number in slices_of(span, self._slice_size):
            whole = slice_span(number, self._slice_size, stored.meta.length)
            start, stop = max(span.start, whole.start), min(span.stop, whole.stop)
            while start < stop:
                data = await self._read(stored, number, start, min(stop, start + PIECE))
                if data is None:  # it was evicted meanwhile: the rest of all comes from elsewhere
                    async for data in self._elsewhere(stored, ByteSpan(start, span.stop)):
                        yield None, data
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
