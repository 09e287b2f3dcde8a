"""The story of a GET: look up, plan, stream. Rule: no aiohttp, no botocore, no diskcache here."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from edgecache.catalog import Catalog
from edgecache.core.answer import answer_fields, body_length, hit_head
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import UpstreamError, VersionChanged
from edgecache.core.index import StoredResponse
from edgecache.core.model import Forward, ObjectKey, Result, Source
from edgecache.core.plan import Plan, plan_answer
from edgecache.core.ranges import part_head, parts_end
from edgecache.lookup import Looked, Lookup
from edgecache.metrics import Metrics
from edgecache.passthrough import Passthrough
from edgecache.request import Answer, Hit, ObjectRequest, Piece
from edgecache.store import Bytes
from edgecache.stream import Streams

# An object that is replaced faster than it is looked at this often can't be read.
ATTEMPTS = 3


class Engine:
    def __init__(
        self,
        catalog: Catalog,
        lookup: Lookup,
        streams: Streams,
        passthrough: Passthrough,
        metrics: Metrics,
        *,
        token: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._lookup = lookup
        self._streams = streams
        self._passthrough = passthrough
        self._metrics = metrics
        self._token = token

    def hit(self, key: ObjectKey, headers: Mapping[str, str]) -> Hit | None:
        """The answer to a GET if it is fresh and in memory whole; None: `answer` finds one."""
        stored = self._catalog.hit(key)
        if stored is None:
            return None
        plan = plan_answer("GET", headers, stored.meta)
        if plan.status == 304:
            data: Sequence[Bytes] | None = ()
        elif len(plan.spans) == 1:
            data = self._streams.at_hand(stored, plan.spans[0])
        else:
            return None
        if data is None:
            return None
        head, status = hit_head(stored, plan, age=stored.age(self._catalog.clock()))
        return Hit(plan.status, head, status, data, stored)

    async def answer(self, request: ObjectRequest) -> Answer:
        """:raises EdgecacheError: with the status to give instead."""
        for _ in range(ATTEMPTS):
            looked = await self._lookup.find(request)
            if looked.collapsed:
                self._metrics.collapsed.inc()
            if looked.stored is None:
                return await self._passthrough.answer(request)
            try:
                return await self._serve(request, looked, looked.stored)
            except VersionChanged:
                continue  # nothing was sent yet: look again
        raise UpstreamError("the object is replaced faster than it can be read")

    async def _serve(
        self, request: ObjectRequest, looked: Looked, stored: StoredResponse
    ) -> Answer:
        plan = plan_answer(request.method, request.headers, stored.meta)
        boundary = self._token() if len(plan.spans) > 1 else ""
        absent, needed = 0, 0
        if request.method == "GET":
            absent, needed = self._streams.missing(stored, plan.spans)
        fresh = looked.forward is None
        if fresh and absent and self._streams.first_gap(stored, plan.spans) is None:
            looked = replace(looked, collapsed=True)  # the fills of others bring all of it
            self._metrics.collapsed.inc()
        age = stored.age(self._catalog.clock())
        status, result = judge(looked, absent, needed, ttl=int(stored.lifetime - age))
        fields = answer_fields(stored, plan, boundary)
        cache_status = format_cache_status(status)
        fields += [("Age", str(int(age))), ("Cache-Status", cache_status)]
        first, body = None, None
        if needed:
            body = self._body(request, stored, plan, boundary)
            try:
                first = await anext(body)
            except BaseException:
                await body.aclose()
                raise
        return Answer(
            status=plan.status,
            fields=fields,
            length=body_length(stored, plan, boundary),
            result=result,
            cache_status=cache_status,
            first=first,
            body=body,
        )

    def _body(
        self, request: ObjectRequest, stored: StoredResponse, plan: Plan, boundary: str
    ) -> AsyncGenerator[Piece, None]:
        if boundary:
            return self._parts(request, stored, plan, boundary)
        return self._streams.pieces(stored, request.route, plan.spans[0])

    async def _parts(
        self, request: ObjectRequest, stored: StoredResponse, plan: Plan, boundary: str
    ) -> AsyncGenerator[Piece, None]:
        for span in plan.spans:
            yield Source.CACHE, part_head(boundary, stored.content_type, span, stored.meta.length)
            async with aclosing(self._streams.pieces(stored, request.route, span)) as pieces:
                async for piece in pieces:
                    yield piece
        yield Source.CACHE, parts_end(boundary)


def judge(looked: Looked, absent: int, needed: int, *, ttl: int) -> tuple[CacheStatus, Result]:
    """How the request was answered (RFC 9211), true also for mixed answers."""
    if looked.forward is None and not absent:
        return CacheStatus(hit=True, ttl=ttl), Result.HIT
    # Of an object that was not known nothing was there, though its fill may have begun by now.
    mixed = 0 < absent < needed and looked.forward is not Forward.URI_MISS
    forward = looked.forward or (Forward.PARTIAL if mixed else Forward.MISS)
    if looked.forward is Forward.STALE and not absent:
        result = Result.REVALIDATED
    else:
        result = Result.PARTIAL if mixed else Result.MISS
    status = CacheStatus(
        forward=forward,
        forward_status=looked.forward_status,
        stored=bool(absent) or looked.forward_status != 304,
        collapsed=looked.collapsed,
        ttl=ttl,
        detail=f"{needed - absent}/{needed} slices" if mixed else "",
    )
    return status, result
