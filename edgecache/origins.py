"""The configured origins by name, with every request and byte counted once, where it is made."""

import time
from collections.abc import Callable, Mapping

from edgecache.core.accounts import Accounts
from edgecache.core.errors import ClientError, EdgecacheError, VersionChanged
from edgecache.core.index import Route
from edgecache.core.model import FOR_SLICES, ByteSpan, ObjectKey, ObjectMeta, Reason, Waste
from edgecache.core.ranges import RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.metrics import Metrics
from edgecache.traffic import Traffic
from edgecache.upstream import Body, Upstream

# So many failures in a row, with no success between, and the origin is taken for dead.
DEAD_AFTER = 5


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
    ) -> None:
        self._key = key
        self._found = found
        self._body = body
        self._origins = origins
        self._route = route
        self._reason = reason
        self._position = found.span.start if isinstance(found, Found) else 0  # in the object
        self._open = True
        origins.metrics.origin_in_flight.inc()
        origins.reading += 1

    async def read(self) -> bytes:
        data = await self._body.read()
        self._count(len(data))
        return data

    def _count(self, count: int) -> None:
        duplicates = 0
        if isinstance(self._found, Found) and self._reason in FOR_SLICES:
            stop = min(self._position + count, self._found.span.stop)
            duplicates = self._origins.here(
                self._found.meta, ByteSpan(min(self._position, stop), stop)
            )
            self._position += count
        metrics, label = self._origins.metrics, self._route.label
        metrics.bought(label, self._reason, count - duplicates)
        metrics.bought(label, Reason.DUPLICATE, duplicates)
        self._origins.accounts.bought(self._key, count)

    def close(self) -> None:
        self._body.close()
        if self._open:
            self._open = False
            if self.unread:
                self._count(self.unread)
                self._origins.metrics.wasted(Waste.UNREAD, self.unread)
            self._origins.metrics.origin_in_flight.dec()
            self._origins.reading -= 1
            self._origins.traffic.end(self._reason)

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
    ) -> None:
        self._upstreams = upstreams
        self.accounts = Accounts() if accounts is None else accounts
        self.metrics = self._metrics = metrics
        # How many bytes of a span of that version are in the store, or in a running fill.
        self.here: Callable[[ObjectMeta, ByteSpan], int] = nothing_here
        self.reading = 0  # answers that are being read
        self.traffic = Traffic()
        self._failures = dict.fromkeys(upstreams, 0)
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
        """As `Upstream.get`, counted under `route` and `reason`."""
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
            self._metrics.bought(route.label, reason, error.bought)
            self._metrics.wasted(Waste.ERROR, error.bought)
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
        return found, CountedBody(key, found, body, self, route, reason)

    def _note(self, origin: str, *, failed: bool) -> None:
        self._failures[origin] = self._failures[origin] + 1 if failed else 0

    def trouble(self) -> str:
        """Which origins are known dead, "" if none is."""
        dead = [name for name, failures in self._failures.items() if failures >= DEAD_AFTER]
        return f"origin failing: {', '.join(dead)}" if dead else ""

    async def close(self) -> None:
        for upstream in self._upstreams.values():
            await upstream.close()
