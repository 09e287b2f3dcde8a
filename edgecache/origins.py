"""The configured origins by name, with every byte counted once, where it is made."""

from collections.abc import Callable, Mapping
from functools import partial

from edgecache.attempts import Attempts, IsWanted, OnWaste, always
from edgecache.config_fetch import Fetch
from edgecache.core.accounts import Accounts
from edgecache.core.errors import UpstreamError
from edgecache.core.index import Route
from edgecache.core.model import FOR_SLICES, ByteSpan, ObjectKey, ObjectMeta, Reason, Waste
from edgecache.core.ranges import IntRange, RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.metrics import Metrics
from edgecache.resumed import ResumedBody
from edgecache.turn_queue import TurnQueue
from edgecache.upstream import Body, Upstream


class CountedBody:
    """A body that tells what it costs: its own request's bytes, those that nobody reads included.

    Of bytes that were bought for slices, those that are here already when they come are duplicates.
    """

    def __init__(
        self,
        key: ObjectKey,
        found: Found | NotModified,
        body: Body,
        origins: "Origins",
        route: Route,
        reason: Reason,
        *,
        asked_for: Reason,
        rest_from: int = 0,
    ) -> None:
        """`reason` is that of this request, `asked_for` that of the first one for these bytes;
        `rest_from`: where the rest begins that is wanted of it."""
        self._key = key
        self._found = found
        self._body = body
        self._origins = origins
        self._route = route
        self._reason = reason
        self._is_for_slices = asked_for in FOR_SLICES
        self._rest_from = rest_from
        self._position = found.span.start if isinstance(found, Found) else 0  # in the object
        self._open = True
        origins.metrics.origin_in_flight.inc()
        origins.reading += 1

    async def read(self) -> bytes:
        data = await self._body.read()
        self._count(len(data))
        return data

    def _count(self, count: int) -> None:
        metrics, label = self._origins.metrics, self._route.label
        duplicates = self._duplicates(count)
        metrics.bought(label, self._reason, count - duplicates)
        metrics.bought(label, Reason.DUPLICATE, duplicates)
        self._origins.accounts.bought(self._key, count)

    def _duplicates(self, count: int) -> int:
        """Of the next so many bytes."""
        if not isinstance(self._found, Found):
            return 0
        start = self._position
        self._position = stop = start + count
        fresh = min(max(start, self._rest_from), stop)
        again = fresh - start
        if self._is_for_slices:
            end = self._found.span.stop
            again += self._origins.here(self._found.meta, ByteSpan(min(fresh, end), min(stop, end)))
        return again

    def close(self) -> None:
        self._body.close()
        if self._open:
            self._open = False
            if self.unread:
                self._count(self.unread)
                self._origins.metrics.wasted(Waste.UNREAD, self.unread)
            self._origins.metrics.origin_in_flight.dec()
            self._origins.reading -= 1

    @property
    def unread(self) -> int:
        return self._body.unread


def nothing_here(meta: ObjectMeta, span: ByteSpan) -> int:
    return 0


class Origins:
    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        metrics: Metrics,
        accounts: Accounts | None = None,
        *,
        fetch: Fetch | None = None,
        connections: Mapping[str, int | None] | None = None,
    ) -> None:
        """`connections`: of origins that have a limit of their own."""
        limits = connections or {}
        self._attempts = {
            name: Attempts(upstream, fetch or Fetch(), metrics, connections=limits.get(name))
            for name, upstream in upstreams.items()
        }
        self.accounts = Accounts() if accounts is None else accounts
        self.metrics = metrics
        # How many bytes of a span of that version are in the store, or in a running fill.
        self.here: Callable[[ObjectMeta, ByteSpan], int] = nothing_here
        self.reading = 0  # answers that are asked for, or being read
        self.names = tuple(upstreams)

    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        route: Route,
        reason: Reason,
        if_match: str = "",
        if_none_match: str = "",
        is_wanted: IsWanted = always,
    ) -> tuple[Found | NotModified, Body]:
        """As `Attempts.get`, its bytes counted under `route` and `reason`; a body whose version is
        known goes on where it breaks."""
        self.reading += 1  # also while it waits: nobody closes the connections under it
        try:
            answer = await self._attempts[key.origin].get(
                key,
                range_,
                reason=reason,
                if_match=if_match,
                if_none_match=if_none_match,
                on_waste=self._waste_of(route),
                is_wanted=is_wanted,
            )
        finally:
            self.reading -= 1
        found = answer.found
        counted = CountedBody(key, found, answer.body, self, route, answer.reason, asked_for=reason)
        if isinstance(found, Found) and found.meta.etag:
            return found, self._resumed(found, counted, route, reason)
        return found, counted

    def _resumed(self, found: Found, body: Body, route: Route, reason: Reason) -> ResumedBody:
        key, if_match = found.meta.key, found.meta.origin_etag

        async def ask_rest(
            range_: IntRange, error: UpstreamError, attempt: int
        ) -> tuple[Found | NotModified, Body]:
            self.reading += 1  # as above
            try:
                rest = await self._attempts[key.origin].resume(
                    key,
                    range_,
                    reason=reason,
                    error=error,
                    attempt=attempt,
                    if_match=if_match,
                    on_waste=self._waste_of(route),
                    is_wanted=lambda: resumed.is_wanted(),
                )
            finally:
                self.reading -= 1
            return rest.found, CountedBody(
                key,
                rest.found,
                rest.body,
                self,
                route,
                rest.reason,
                asked_for=reason,
                rest_from=range_.first,
            )

        resumed = ResumedBody(
            found,
            body,
            ask_rest,
            lambda why: self.metrics.origin_resumes.labels(why).inc(),
            partial(self.metrics.wasted, Waste.DISCARDED),
        )
        return resumed

    def _waste_of(self, route: Route) -> OnWaste:
        def waste(reason: Reason, cause: Waste, count: int) -> None:
            self.metrics.bought(route.label, reason, count)
            self.metrics.wasted(cause, count)

        return waste

    def queue(self, origin: str) -> TurnQueue:
        return self._attempts[origin].queue

    def trouble(self) -> str:
        """Which origins are left alone, also while one request tries; "" if none is."""
        failing = [name for name, one in self._attempts.items() if one.is_left_alone]
        return f"origin failing: {', '.join(failing)}" if failing else ""

    def refresh(self) -> None:
        """The gauges that are read rather than kept."""
        origins = self._attempts.items()
        self.metrics.show_origins({name: (one.state, one.queue.waiting) for name, one in origins})

    def is_failing(self, origin: str) -> bool:
        """Whether the next answer may well be a failure, or is none at all."""
        return self._attempts[origin].is_failing

    async def close(self) -> None:
        for attempts in self._attempts.values():
            await attempts.close()
