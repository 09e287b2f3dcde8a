"""The configured origins by name, with every byte counted once, where it is made."""

from collections.abc import Mapping

from edgecache.attempts import Attempts
from edgecache.config_fetch import Fetch
from edgecache.core.accounts import Accounts
from edgecache.core.breaker import BreakerState
from edgecache.core.errors import UpstreamError
from edgecache.core.index import Route
from edgecache.core.model import ObjectKey, Reason
from edgecache.core.ranges import IntRange, RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.metrics import Metrics
from edgecache.resumed import ResumedBody
from edgecache.turn_queue import TurnQueue
from edgecache.upstream import Body, Upstream


class CountedBody:
    """A body that tells what it costs."""

    def __init__(
        self,
        key: ObjectKey,
        found: Found | NotModified,
        body: Body,
        origins: "Origins",
        route: Route,
        reason: Reason,
        *,
        rest_from: int | None = None,
    ) -> None:
        """`rest_from`: where the rest begins that it was asked for; unset: it is no rest."""
        self._key = key
        self._body = body
        self._origins = origins
        self._metrics = metrics = origins.metrics
        self._route = route
        self._reason = reason
        self._again = 0  # bytes that will come once more, first
        if rest_from is not None and isinstance(found, Found):
            self._again = max(rest_from - found.span.start, 0)
        self._open = True
        metrics.origin_in_flight.inc()
        origins.reading += 1

    async def read(self) -> bytes:
        data = await self._body.read()
        again = min(self._again, len(data))
        self._again -= again
        self._metrics.bought(self._route.label, Reason.DUPLICATE, again)
        self._metrics.bought(self._route.label, self._reason, len(data) - again)
        self._origins.accounts.bought(self._key, len(data))
        return data

    def close(self) -> None:
        if self._open:
            self._open = False
            self._metrics.origin_in_flight.dec()
            self._origins.reading -= 1
        self._body.close()


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
        self.reading = 0  # answers that are being read
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
    ) -> tuple[Found | NotModified, Body]:
        """As `Attempts.get`, its bytes counted under `route` and `reason`; a body that has a version
        goes on where it breaks."""
        answer = await self._attempts[key.origin].get(
            key, range_, reason=reason, if_match=if_match, if_none_match=if_none_match
        )
        found = answer.found
        counted = CountedBody(key, found, answer.body, self, route, answer.reason)
        if isinstance(found, Found) and found.meta.etag:
            return found, self._resumed(found, counted, route, reason)
        return found, counted

    def _resumed(self, found: Found, body: Body, route: Route, reason: Reason) -> ResumedBody:
        key, if_match = found.meta.key, found.meta.origin_etag

        async def ask_rest(
            range_: IntRange, error: UpstreamError, attempt: int
        ) -> tuple[Found | NotModified, Body]:
            self.reading += 1  # also while it waits: nobody closes the connections under it
            try:
                rest = await self._attempts[key.origin].resume(
                    key, range_, reason=reason, error=error, attempt=attempt, if_match=if_match
                )
            finally:
                self.reading -= 1
            return rest.found, CountedBody(
                key, rest.found, rest.body, self, route, rest.reason, rest_from=range_.first
            )

        return ResumedBody(
            found, body, ask_rest, lambda why: self.metrics.origin_resumes.labels(why).inc()
        )

    def queue(self, origin: str) -> TurnQueue:
        return self._attempts[origin].queue

    def trouble(self) -> str:
        """Which origins are left alone, "" if none is. One that may be tried again is not: without
        traffic nobody would."""
        states = {name: one.state for name, one in self._attempts.items()}
        failing = [name for name, state in states.items() if state is BreakerState.OPEN]
        return f"origin failing: {', '.join(failing)}" if failing else ""

    def refresh(self) -> None:
        """The gauges that are read rather than kept."""
        origins = self._attempts.items()
        self.metrics.show_origins({name: (one.state, one.queue.waiting) for name, one in origins})

    def is_failing(self, origin: str) -> bool:
        """Whether its last answer was a failure: the next may well be one, too."""
        return self._attempts[origin].is_failing

    async def close(self) -> None:
        for attempts in self._attempts.values():
            await attempts.close()
