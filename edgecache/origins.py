"""The configured origins by name, with every request and byte counted once, where it is made."""

import asyncio
import random
import time
from collections.abc import Mapping

from edgecache.config_fetch import Fetch
from edgecache.core.accounts import Accounts
from edgecache.core.errors import ClientError, EdgecacheError, UpstreamError, VersionChanged
from edgecache.core.index import Route
from edgecache.core.model import ObjectKey, Reason
from edgecache.core.ranges import IntRange, RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.core.retry import RetryBudget, retry_delay
from edgecache.metrics import Metrics
from edgecache.resumed import ResumedBody
from edgecache.traffic import Traffic
from edgecache.upstream import Body, Upstream

# So many failures in a row, with no success between, and the origin is taken for dead.
DEAD_AFTER = 5


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
        """`rest_from`: it is the rest, from there on, of an answer that was asked for `reason`."""
        self._key = key
        self._body = body
        self._origins = origins
        self._metrics = metrics = origins.metrics
        self._route = route
        self._reason = reason
        self._bought_for = reason if rest_from is None else Reason.RESUME
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
        self._metrics.bought(self._route.label, self._bought_for, len(data) - again)
        self._origins.accounts.bought(self._key, len(data))
        return data

    def close(self) -> None:
        if self._open:
            self._open = False
            self._metrics.origin_in_flight.dec()
            self._origins.reading -= 1
            self._origins.traffic.end(self._reason)
        self._body.close()


class Origins:
    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        metrics: Metrics,
        accounts: Accounts | None = None,
        *,
        fetch: Fetch | None = None,
    ) -> None:
        self._upstreams = upstreams
        self._fetch = fetch or Fetch()
        self.accounts = Accounts() if accounts is None else accounts
        self.metrics = self._metrics = metrics
        self.reading = 0  # answers that are being read
        self.traffic = Traffic()
        self._failures = dict.fromkeys(upstreams, 0)
        now = time.monotonic()
        self._budgets = {name: RetryBudget(self._fetch.retry_share, now) for name in upstreams}
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
        """As `Upstream.get`, counted under `route` and `reason`; a body that breaks is gone on with
        where it has a version."""
        self._budgets[key.origin].request(time.monotonic())
        found, body = await self._ask(
            key, range_, reason=reason, if_match=if_match, if_none_match=if_none_match
        )
        counted = CountedBody(key, found, body, self, route, reason)
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
                rest, body = await self._ask_rest(
                    key, range_, reason=reason, error=error, attempt=attempt, if_match=if_match
                )
                return rest, CountedBody(
                    key, rest, body, self, route, reason, rest_from=range_.first
                )
            finally:
                self.reading -= 1

        return ResumedBody(
            found, body, ask_rest, lambda why: self._metrics.origin_resumes.labels(why).inc()
        )

    async def _ask_rest(
        self,
        key: ObjectKey,
        range_: IntRange,
        *,
        reason: Reason,
        error: UpstreamError,
        attempt: int,
        if_match: str,
    ) -> tuple[Found | NotModified, Body]:
        """The rest of an answer that broke with `error`, asked for once, after a while.

        :raises EdgecacheError: `error` itself if it is not to be asked for, or not any more.
        """
        fetch = self._fetch
        if attempt >= fetch.retries or not self._budgets[key.origin].take(time.monotonic()):
            raise error
        # Chance is for the delay only: nobody has anything from guessing it.
        await asyncio.sleep(retry_delay(fetch.retry_delay, attempt, random.random()))  # noqa: S311
        return await self._ask(key, range_, reason=reason, if_match=if_match)

    async def _ask(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        reason: Reason,
        if_match: str = "",
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        """One request."""
        began = time.monotonic()
        code_class = "error"
        answered = False
        self.traffic.begin(reason)
        try:
            found, body = await self._upstreams[key.origin].get(
                key, range_, if_match=if_match, if_none_match=if_none_match
            )
            code_class = "2xx" if isinstance(found, Found) else "3xx"
            answered = True
        except EdgecacheError as error:
            if error.forward_status:
                code_class = f"{error.forward_status // 100}xx"
            # Missing, out of range, replaced: answers of an origin that is well.
            self._note(key.origin, failed=not isinstance(error, ClientError | VersionChanged))
            raise
        finally:
            if not answered:
                self.traffic.end(reason)
            self._metrics.origin_requests.labels("get", code_class).inc()
            self._metrics.origin_first_byte.labels("get").observe(time.monotonic() - began)
        self._note(key.origin, failed=False)
        return found, body

    def _note(self, origin: str, *, failed: bool) -> None:
        self._failures[origin] = self._failures[origin] + 1 if failed else 0

    def trouble(self) -> str:
        """Which origins are known dead, "" if none is."""
        dead = [name for name, failures in self._failures.items() if failures >= DEAD_AFTER]
        return f"origin failing: {', '.join(dead)}" if dead else ""

    async def close(self) -> None:
        for upstream in self._upstreams.values():
            await upstream.close()
