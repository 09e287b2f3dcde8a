"""Hits, answered as soon as aiohttp's parser has accepted the request: no task, no request object.

Rule of this module: what can't be answered exactly here falls through to `Delivery`, whose answer
would have been the same, byte for byte.
"""

import asyncio
import time
from collections.abc import Callable

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from edgecache.core.accesslog import AccessEntry
from edgecache.core.errors import EdgecacheError
from edgecache.core.model import Result
from edgecache.engine import Engine
from edgecache.metrics import Metrics
from edgecache.web.exchange import HOST, STATUS_LINES, send
from edgecache.web.own_head import OwnHead
from edgecache.web.routing import Router


class FastPath:
    def __init__(
        self,
        engine: Engine,
        router: Router,
        metrics: Metrics,
        *,
        own_head: OwnHead,
        clock: Callable[[], float],
        record: Callable[[AccessEntry], None] | None,
    ) -> None:
        self._engine = engine
        self._router = router
        self._metrics = metrics
        self._own_head = own_head
        self._clock = clock
        self._record = record

    def answer(
        self, message: RawRequestMessage, transport: asyncio.WriteTransport, client: str
    ) -> bool:
        """Whether the request is answered, on `transport`, whose buffer has room."""
        began = time.perf_counter()
        headers = message.headers
        if (
            message.method != "GET"
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or not HOST.fullmatch(headers.get("Host", ""))
        ):
            return False
        try:
            key, route = self._router.resolve(message.path)
        except EdgecacheError:
            return False
        hit = self._engine.hit(key, headers)
        if hit is None:
            return False
        own = self._own_head.lines(headers.get("Origin"))
        count = send(transport, f"{STATUS_LINES[hit.status]}{hit.head}{own}\r\n", hit.data)
        duration = time.perf_counter() - began
        series = self._metrics.hit_series("GET", hit.status, route.label, Result.HIT)
        series.add(duration, duration, count)
        if self._record is not None:
            self._record(
                AccessEntry(
                    self._clock(),
                    client,
                    "GET",
                    message.path,
                    hit.status,
                    count,
                    headers.get("Range", ""),
                    duration,
                    duration,
                    hit.cache_status,
                    Result.HIT,
                    headers.get("Referer", ""),
                    headers.get("User-Agent", ""),
                    headers.get("X-Request-Id", ""),
                )
            )
        return True
