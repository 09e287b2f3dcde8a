"""Finds the stored response to answer with, asking the origin when there is none or it is stale.

Rules of this module: one opening per object at a time; whoever comes meanwhile shares its outcome.
A stale response is used only if all that the request needs of it is in the store (RFC 5861).
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial

from edgecache.catalog import Catalog
from edgecache.core.errors import (
    EdgecacheError,
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamError,
    VersionChanged,
)
from edgecache.core.failures import Failures
from edgecache.core.freshness import not_storable
from edgecache.core.index import Missing, Route, StoredResponse, Uncacheable, freshened
from edgecache.core.model import (
    ByteSpan,
    Forward,
    NotStored,
    ObjectKey,
    ObjectMeta,
    Reason,
    StaleUse,
)
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
# How long a client waits for an opening whose failure would get it a stale answer. Most of those
# that succeed do in a fraction of this, and a viewer's player gives up on an origin that hangs long
# before the origin's own 100 s are over. What comes later is for the next client.
STALE_PATIENCE = 2.0
# When to try again what could not be answered while the origin fails, in seconds.
RETRY_AFTER = 5

log = logging.getLogger("edgecache.lookup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """`stored` None: pass the request through. `forward` None: nobody asked the origin for this
    request. `use`: `stored` is stale, and why it is used all the same."""

    stored: StoredResponse | None
    forward: Forward | None = None
    forward_status: int | None = None
    collapsed: bool = False
    use: StaleUse | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    outcome: asyncio.Future[Looked]
    began: float  # by the loop's time


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
        self._openings: dict[ObjectKey, Opening] = {}
        self._failures = Failures()

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
            case StoredResponse() if request.reason is not Reason.WARM:
                return await self._stale(request, known)
            case _:
                return await self._opened(request, known)

    async def _opened(self, request: ObjectRequest, stale: StoredResponse | None) -> Looked:
        joined = request.key in self._openings
        looked = await asyncio.shield(self._opening(request, stale).outcome)
        return replace(looked, collapsed=joined)

    async def _stale(self, request: ObjectRequest, stale: StoredResponse) -> Looked:
        """What to answer with when what is known is stale."""
        now = self._catalog.clock()
        if not is_of_use(stale, now):
            return await self._opened(request, stale)
        is_whole = self._is_whole(request, stale)
        failed = self._failures.is_recent(request.key, now)
        if is_whole and stale.serves_while_revalidating(now):
            if not failed:
                self._opening(request, stale)  # behind the answer
            return Looked(stored=stale, use=StaleUse.WHILE_REVALIDATE)
        if not stale.serves_if_error(now):
            return await self._opened(request, stale)
        if is_whole and failed and request.key not in self._openings:
            return Looked(stored=stale, use=StaleUse.IF_ERROR)
        if is_whole:
            return await self._unless_it_fails(request, stale)
        try:
            return await self._opened(request, stale)
        except UpstreamError as error:
            if is_failure(error):
                raise incomplete(error) from error
            raise

    async def _unless_it_fails(self, request: ObjectRequest, stale: StoredResponse) -> Looked:
        """The opening's outcome; the stale response if that fails, or is long in coming."""
        joined = request.key in self._openings
        opening = self._opening(request, stale)
        left = opening.began + STALE_PATIENCE - asyncio.get_running_loop().time()
        await asyncio.wait([opening.outcome], timeout=max(left, 0))
        failure: UpstreamError | None = None
        if opening.outcome.done():
            try:
                return replace(opening.outcome.result(), collapsed=joined)
            except UpstreamError as error:
                if not is_failure(error):
                    raise
                failure = error
        # Whatever happened meanwhile: a purge, for one.
        known = await self._catalog.get(request.key, request.route)
        if not isinstance(known, StoredResponse) or known.version != stale.version:
            raise VersionChanged("it was purged while it was asked for")
        if not self._is_whole(request, known):
            raise incomplete(failure) from failure
        return Looked(
            stored=known,
            forward=Forward.STALE,
            forward_status=(failure and failure.forward_status) or None,
            collapsed=joined,
            use=StaleUse.IF_ERROR,
        )

    def _is_whole(self, request: ObjectRequest, stored: StoredResponse) -> bool:
        """Whether all that the request needs of it is in the store."""
        return self._streams.covers(stored, spans_of(request, stored))

    def _opening(self, request: ObjectRequest, stale: StoredResponse | None) -> Opening:
        """The one opening of this object."""
        return self._openings.get(request.key) or self._open(request, stale)

    def _open(self, request: ObjectRequest, stale: StoredResponse | None) -> Opening:
        """Starts it, in a task that no client's end can cancel."""
        loop = asyncio.get_running_loop()
        opening = Opening(loop.create_future(), loop.time())
        opening.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
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
        opening: Opening,
    ) -> None:
        try:
            opening.outcome.set_result(await self._ask(request, stale, purges))
        except EdgecacheError as error:
            if stale is not None and is_failure(error):
                self._note(request.key, stale, error)
            opening.outcome.set_exception(error)

    def _note(self, key: ObjectKey, stale: StoredResponse, error: EdgecacheError) -> None:
        now = self._catalog.clock()
        self._failures.note(key, now)
        if is_of_use(stale, now):  # else it is told of where a client gets it
            where = f"{key.origin}/{key.key}"
            log.warning("revalidation failed key=%.200r reason=%s %s", where, error, error.hint)

    def _ended(self, key: ObjectKey, opening: Opening) -> None:
        del self._openings[key]
        if not opening.outcome.done():
            opening.outcome.set_exception(UpstreamError("the request to the origin was stopped"))

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
                lifetime = self._negative_ttl if remembered else 0
                self._catalog.missing(request.key, lifetime, stale)
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
            self._catalog.uncacheable(request.key, UNCACHEABLE_LIFETIME, why, stale)
            return Looked(stored=None, forward=Forward.BYPASS)
        if isinstance(found, Found) and (seconds := self.settles_in(found.meta)):
            self._streams.discard(found, body)
            lifetime = min(seconds, UNSETTLED_LIFETIME)
            self._catalog.uncacheable(request.key, lifetime, NotStored.UNSETTLED, stale)
            return Looked(stored=None, forward=Forward.BYPASS)
        if isinstance(found, NotModified):
            body.close()
            if stale is None:  # cannot be: only a request about a stale response is conditional
                raise UpstreamError("the origin answered 304 to a plain request")
            stored = self._catalog.put(freshened(stale.meta, found), request.route, stale)
            return Looked(stored=stored, forward=Forward.STALE, forward_status=304)
        stored = self._catalog.put(found.meta, request.route, stale)
        self._streams.adopt(stored, request.route, found, body)
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
        gap = self._streams.first_gap(stale, spans_of(request, stale))
        reason = request.reason if gap else Reason.REVALIDATE
        ask = partial(self.get, request.key, request.route, gap or PROBE, reason)
        found, body = await ask(stale.meta.origin_etag)
        if isinstance(found, NotModified) and not found.freshens(stale.meta.origin_etag):
            body.close()
            return await ask()  # it has changed, whatever the status says
        return found, body

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


def spans_of(request: ObjectRequest, stored: StoredResponse) -> tuple[ByteSpan, ...]:
    """What the answer's body takes of the object."""
    if request.method != "GET":
        return ()
    return plan_answer(request.method, request.headers, stored.meta).spans


def is_of_use(stale: StoredResponse, now: float) -> bool:
    return stale.serves_while_revalidating(now) or stale.serves_if_error(now)


def is_failure(error: EdgecacheError) -> bool:
    """Whether the origin failed; else what it said is an answer."""
    return isinstance(error, UpstreamError) and not isinstance(error, VersionChanged)


def incomplete(error: UpstreamError | None) -> UpstreamBusy:
    """For a client that would get a stale answer if all of it were here."""
    message = "the origin fails, and not all that was asked for is here"
    after = error.retry_after if isinstance(error, UpstreamBusy) else RETRY_AFTER
    reason = f"{error}: {error.hint}" if error else "it hangs"
    if isinstance(error, NotAsked):
        busy: UpstreamBusy = NotAsked(message, detail=error.detail, retry_after=after, hint=reason)
    else:
        busy = UpstreamBusy(message, retry_after=after, hint=reason)
    busy.forward_status = error.forward_status if error else 0
    busy.stale = True
    return busy
