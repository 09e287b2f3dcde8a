"""The story of a GET: look up, plan, stream. Rule: no aiohttp, no botocore, no diskcache here."""

from collections.abc import Callable
from dataclasses import replace
from math import floor

from edgecache.body import begun
from edgecache.catalog import Catalog
from edgecache.core.answer import answer_fields, body_length
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import UpstreamError, VersionChanged
from edgecache.core.model import Forward, Result, StaleUse
from edgecache.core.plan import Plan, plan_answer
from edgecache.lookup import Looked, Lookup, incomplete, is_failure
from edgecache.metrics import Metrics
from edgecache.passthrough import Passthrough
from edgecache.request import Answer, ObjectRequest, Use
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

    async def answer(self, request: ObjectRequest) -> Answer:
        """:raises EdgecacheError: with the status to give instead."""
        for _ in range(ATTEMPTS):
            purges = self._catalog.hard_purges.count
            try:
                looked = await self._lookup.find(request)
                if looked.collapsed:
                    self._metrics.collapsed.inc()
                if request.version and not (
                    looked.stored and looked.stored.version == request.version
                ):
                    raise VersionChanged("it is another version by now")
                if looked.stored is None:
                    return await self._passthrough.answer(request)
                use = Use(looked.stored, request.route, purges)
                return await self._serve(request, looked, use)
            except VersionChanged:
                continue  # nothing was sent yet: look again
        raise UpstreamError("the object is replaced faster than it can be read")

    async def _serve(self, request: ObjectRequest, looked: Looked, use: Use) -> Answer:
        stored = use.stored
        plan = plan_answer(request.method, request.headers, stored.meta)
        boundary = self._token() if len(plan.spans) > 1 else ""
        absent, needed = 0, 0
        if request.method == "GET":
            absent, needed = self._streams.missing(stored, plan.spans)
        fresh = looked.forward is None
        if fresh and absent and self._streams.first_gap(stored, plan.spans) is None:
            looked = replace(looked, collapsed=True)  # the fills of others bring all of it
            self._metrics.collapsed.inc()
        if needed:
            await self._assure(looked, use, plan)
        age = stored.age(self._catalog.clock())
        status, result = judge(
            looked,
            absent,
            needed,
            ttl=floor(stored.lifetime - age),
            admitted=self._streams.admits(stored),
        )
        fields = answer_fields(stored, plan, boundary)
        cache_status = format_cache_status(status)
        fields += [("Age", str(int(age))), ("Cache-Status", cache_status)]
        first, body = None, None
        if needed:
            first, body = await begun(
                stored,
                plan,
                boundary,
                lambda span: self._streams.pieces(use, span),
            )
        return Answer(
            status=plan.status,
            fields=fields,
            length=body_length(stored, plan, boundary),
            result=result,
            cache_status=cache_status,
            first=first,
            body=body,
        )

    async def _assure(self, looked: Looked, use: Use, plan: Plan) -> None:
        """No head is sent that is known to have no body."""
        doubted = looked.use is StaleUse.IF_ERROR
        try:
            await self._streams.assure(use, plan.spans, doubted=doubted)
        except UpstreamError as error:
            if doubted and is_failure(error):
                raise incomplete(error) from error
            raise


def judge(
    looked: Looked, absent: int, needed: int, *, ttl: int, admitted: bool
) -> tuple[CacheStatus, Result]:
    """How the request was answered (RFC 9211), true also for mixed answers."""
    if looked.use is not None and not absent:
        status = CacheStatus(
            hit=looked.forward is None,
            forward=looked.forward,
            forward_status=looked.forward_status,
            collapsed=looked.collapsed,
            ttl=ttl,
            detail=f"stale-{looked.use}",
        )
        return status, Result.STALE
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
        stored=admitted and (bool(absent) or looked.forward_status != 304),
        collapsed=looked.collapsed,
        ttl=ttl,
        detail=f"{needed - absent}/{needed} slices" if mixed else "",
    )
    return status, result
