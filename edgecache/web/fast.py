"""Hits, answered as soon as aiohttp's parser has accepted the request: no task, no request object.

Rule of this module: what can't be answered exactly here falls through to `Delivery`, whose answer
would have been the same, byte for byte.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from edgecache.core.accesslog import AccessEntry
from edgecache.core.errors import EdgecacheError
from edgecache.core.model import ObjectKey, Result
from edgecache.core.plan import plan_answer
from edgecache.hits import Hits
from edgecache.metrics import Metrics
from edgecache.store import Bytes
from edgecache.web.exchange import STATUS_LINES, is_host, on_the_wire
from edgecache.web.hot import HotObject, HotTable
from edgecache.web.own_head import OwnHead
from edgecache.web.routing import Router

Headers = CIMultiDictProxy[str]


class Ready(NamedTuple):
    status: int
    length: int  # of the body
    cache_status: str
    pieces: Sequence[Bytes]  # head and body, as they go onto the wire


class FastPath:
    def __init__(
        self,
        hits: Hits,
        router: Router,
        metrics: Metrics,
        *,
        hot: HotTable,
        own_head: OwnHead,
        clock: Callable[[], float],
        record: Callable[[AccessEntry], None] | None,
        is_current: Callable[[], bool] | None = None,
    ) -> None:
        """`is_current`: whether the config is, None: always."""
        self._hits = hits
        self._router = router
        self._metrics = metrics
        self._hot = hot
        self._own_head = own_head
        self._clock = clock
        self._record = record
        self._is_current = is_current

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
            or not is_host(headers.get(hdrs.HOST, ""))
            or (self._is_current is not None and not self._is_current())
        ):
            return False
        try:
            key, route = self._router.resolve(message.path)
        except EdgecacheError:
            return False
        now = self._clock()
        hot = self._hot.get(key)
        ready = self._hot_answer(hot, headers, now) if hot is not None else None
        if ready is None and (ready := self._hit_answer(key, headers)) is None:
            return False
        duration = time.perf_counter() - began
        # Counted before it is sent: who is killed in between has not given what nobody counted.
        series = self._metrics.hit_series("GET", ready.status, route.label, Result.HIT)
        series.add(duration, duration, ready.length)
        if len(ready.pieces) == 1:
            transport.write(ready.pieces[0])
        else:
            transport.writelines(ready.pieces)
        if self._record is not None:
            self._record(
                AccessEntry(
                    now,
                    client,
                    "GET",
                    message.path,
                    ready.status,
                    ready.length,
                    headers.get(hdrs.RANGE, ""),
                    duration,
                    duration,
                    ready.cache_status,
                    Result.HIT,
                    headers.get(hdrs.REFERER, ""),
                    headers.get(hdrs.USER_AGENT, ""),
                    headers.get("X-Request-Id", ""),
                )
            )
        return True

    def _hot_answer(self, hot: HotObject, headers: Headers, now: float) -> Ready | None:
        """What was rendered before, if that is the answer."""
        status = 200
        if is_special(headers):
            meta = hot.stored.meta
            same = has_this(headers, meta.etag)
            status = 304 if same else plan_answer("GET", headers, meta).status
        if status == 200:
            if hot.body is None:
                return None
            self._hot.use(hot)
        elif status != 304:
            return None
        rendered = hot.rendered(status, now, self._own_head.relevant(headers.get(hdrs.ORIGIN)))
        if rendered is None:
            return None
        wire, cache_status = rendered
        length = len(hot.body or b"") if status == 200 else 0
        return Ready(status, length, cache_status, (wire,))

    def _hit_answer(self, key: ObjectKey, headers: Headers) -> Ready | None:
        known = self._hot.generation(key)
        hit = self._hits.hit(key, headers)
        if hit is None:
            return None
        own = self._own_head.lines(headers.get(hdrs.ORIGIN))
        pieces = on_the_wire(f"{STATUS_LINES[hit.status]}{hit.head}{own}\r\n", hit.data)
        if hit.status == 200:
            self._hot.add(hit.stored, known, body=lambda: joined(hit.data))
        elif hit.status == 304:
            self._hot.add(hit.stored, known)
        return Ready(hit.status, sum(map(len, hit.data)), hit.cache_status, pieces)


def is_special(headers: Headers) -> bool:
    """Whether the answer may be another than all of the object."""
    return (
        hdrs.RANGE in headers
        or hdrs.IF_NONE_MATCH in headers
        or hdrs.IF_MODIFIED_SINCE in headers
        or hdrs.IF_MATCH in headers
        or hdrs.IF_UNMODIFIED_SINCE in headers
    )


def has_this(headers: Headers, etag: str) -> bool:
    """Whether all that is asked is whether it is another one by now (RFC 9110 §13.2.2): as browsers
    ask, and what needs no parsing."""
    return (
        etag != ""
        and headers.get(hdrs.IF_NONE_MATCH) == etag
        and hdrs.IF_MATCH not in headers
        and hdrs.IF_UNMODIFIED_SINCE not in headers
    )


def joined(data: Sequence[Bytes]) -> bytes:
    return b"".join(data)
