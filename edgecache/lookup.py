"""Finds the stored response to answer with, asking the origin when there is none or it is stale.

Rule of this module: one opening per object at a time; whoever comes meanwhile shares its outcome.
"""

import asyncio
from dataclasses import dataclass, replace

from edgecache.catalog import Catalog
from edgecache.core.errors import (
    EdgecacheError,
    NotFound,
    RangeNotSatisfiable,
    UpstreamError,
    VersionChanged,
)
from edgecache.core.freshness import not_storable
from edgecache.core.index import Missing, Route, StoredResponse, Uncacheable, freshened
from edgecache.core.model import Forward, NotStored, ObjectKey, ObjectMeta, Reason
from edgecache.core.plan import PROBE, opening_range, plan_answer
from edgecache.core.ranges import IntRange, RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.core.settling import settles_in
from edgecache.origins import Origins
from edgecache.request import ObjectRequest
from edgecache.stream import Streams
from edgecache.tasks import Tasks
from edgecache.upstream import Body

# How long an object that could not be stored is passed through without another try.
UNCACHEABLE_LIFETIME = 60.0
# And one that may still be written to, at most.
UNSETTLED_LIFETIME = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """`stored` None: pass the request through. `forward` None: nobody asked the origin."""

    stored: StoredResponse | None
    forward: Forward | None = None
    forward_status: int | None = None
    collapsed: bool = False


class Lookup:
    def __init__(
        self,
        catalog: Catalog,
        origins: Origins,
        streams: Streams,
        tasks: Tasks,
        *,
        negative_ttl: float,
        settle: float = 0.0,
    ) -> None:
        self._catalog = catalog
        self._origins = origins
        self._streams = streams
        self._tasks = tasks
        self._negative_ttl = negative_ttl
        self._settle = settle
        self._openings: dict[ObjectKey, asyncio.Future[Looked]] = {}

    async def find(self, request: ObjectRequest) -> Looked:
        """:raises NotFound, UpstreamError: as the origin answered, or as it did a moment ago."""
        known = await self._catalog.get(request.key, request.route)
        match known:
            case Missing():
                raise NotFound("no such object")
            case Uncacheable():
                return Looked(stored=None, forward=Forward.BYPASS)
            case StoredResponse() if known.is_fresh(self._catalog.clock()):
                return Looked(stored=known)
            case _:
                stale = known
        opening = self._openings.get(request.key)
        if opening is not None:
            return replace(await asyncio.shield(opening), collapsed=True)
        return await asyncio.shield(self._open(request, stale))

    def _open(self, request: ObjectRequest, stale: StoredResponse | None) -> asyncio.Future[Looked]:
        """Starts the one opening of this object, in a task that no client's end can cancel."""
        opening: asyncio.Future[Looked] = asyncio.get_running_loop().create_future()
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._openings[request.key] = opening
        purges = self._catalog.purges.count  # now: by its first step there may be one more
        task = self._tasks.spawn(self._run(request, stale, purges, opening), name="open")
        # A callback: a task that is cancelled before its first step runs nothing of its own.
        task.add_done_callback(lambda _: self._ended(request.key, opening))
        return opening

    async def _run(
        self,
        request: ObjectRequest,
        stale: StoredResponse | None,
        purges: int,
        opening: asyncio.Future[Looked],
    ) -> None:
        try:
            opening.set_result(await self._ask(request, stale, purges))
        except EdgecacheError as error:
            opening.set_exception(error)

    def _ended(self, key: ObjectKey, opening: asyncio.Future[Looked]) -> None:
        del self._openings[key]
        if not opening.done():
            opening.set_exception(UpstreamError("the request to the origin was stopped"))

    async def _ask(
        self, request: ObjectRequest, stale: StoredResponse | None, purges: int
    ) -> Looked:
        try:
            found, body = await self._contact(request, stale)
        except EdgecacheError as error:
            error.stale = stale is not None
            if isinstance(error, NotFound):
                purged = self._catalog.purges.concern(request.key, purges)
                remembered = error.storable and not purged
                self._catalog.missing(request.key, self._negative_ttl if remembered else 0)
            raise
        try:
            tags = set(request.route.tags)
            for meta in (stale and stale.meta, found.meta if isinstance(found, Found) else None):
                tags.update(meta.tags if meta else ())
            if self._catalog.purges.concern(request.key, purges, tags):
                # It may be the very bytes that were to go.
                raise VersionChanged("it was purged while it was asked for")
            return self._take(request, stale, found, body)
        except BaseException:
            body.close()
            raise

    def _take(
        self,
        request: ObjectRequest,
        stale: StoredResponse | None,
        found: Found | NotModified,
        body: Body,
    ) -> Looked:
        """What the answer means for what is known; its body is closed, or somebody's from here."""
        has_validator = isinstance(found, NotModified) or bool(found.meta.etag)
        status = 304 if isinstance(found, NotModified) else found.status
        if why := not_storable(status, found.fields, has_validator=has_validator):
            self._streams.discard(found, body)
            self._catalog.uncacheable(request.key, UNCACHEABLE_LIFETIME, why)
            return Looked(stored=None, forward=Forward.BYPASS)
        if isinstance(found, Found) and (seconds := self.settles_in(found.meta)):
            self._streams.discard(found, body)
            lifetime = min(seconds, UNSETTLED_LIFETIME)
            self._catalog.uncacheable(request.key, lifetime, NotStored.UNSETTLED)
            return Looked(stored=None, forward=Forward.BYPASS)
        if isinstance(found, NotModified):
            body.close()
            if stale is None:  # cannot be: only a request about a stale response is conditional
                raise UpstreamError("the origin answered 304 to a plain request")
            stored = self._catalog.put(freshened(stale.meta, found), request.route, stale)
            return Looked(stored=stored, forward=Forward.STALE, forward_status=304)
        stored = self._catalog.put(found.meta, request.route, stale)
        self._streams.adopt(stored, found, body)
        forward = Forward.STALE if stale else Forward.URI_MISS
        return Looked(stored=stored, forward=forward, forward_status=found.status)

    def settles_in(self, meta: ObjectMeta) -> float:
        """As `settling.settles_in`, now."""
        changed = self._catalog.changes.last(meta.key)
        return settles_in(meta, self._settle, changed=changed, now=self._catalog.clock())

    async def _contact(
        self, request: ObjectRequest, stale: StoredResponse | None
    ) -> tuple[Found | NotModified, Body]:
        """The first GET: for the bytes that the client needs first, or for one byte."""
        if stale is None:
            range_ = opening_range(
                request.method, request.headers, request.key.key, self._streams.sizes
            )
            return await self.get(request.key, request.route, range_, request.reason)
        plan = plan_answer(request.method, request.headers, stale.meta)
        spans = plan.spans if request.method == "GET" else ()
        gap = self._streams.first_gap(stale, spans)
        reason = request.reason if gap else Reason.REVALIDATE
        return await self.get(
            request.key, request.route, gap or PROBE, reason, stale.meta.origin_etag
        )

    async def get(
        self,
        key: ObjectKey,
        route: Route,
        range_: RangeSpec | None,
        reason: Reason,
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        """A GET whose range may lie outside the object: then what is there is asked for."""
        # Past the end: one byte tells the length. No first byte: the object is empty.
        at_start = isinstance(range_, IntRange) and range_.first == 0
        for attempt in dict.fromkeys((range_, None) if at_start else (range_, PROBE, None)):
            try:
                return await self._origins.get(
                    key, attempt, route=route, reason=reason, if_none_match=if_none_match
                )
            except RangeNotSatisfiable:
                if_none_match = ""
        raise UpstreamError("the origin refuses a request without a range")
