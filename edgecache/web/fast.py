"""Hits, answered as soon as aiohttp's parser has accepted the request: no task, no request object.

Rule of this module: what can't be answered exactly here falls through to `Delivery`, whose answer
would have been the same, byte for byte.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from edgecache.core.accesslog import AccessEntry, Frame
from edgecache.core.errors import EdgecacheError
from edgecache.core.index import Route
from edgecache.core.model import ObjectKey, Result
from edgecache.hits import Hits
from edgecache.metrics import Metrics
from edgecache.store import Bytes
from edgecache.tally import Series
from edgecache.web.accesslog import AccessLog
from edgecache.web.exchange import STATUS_LINES, is_host, on_the_wire
from edgecache.web.hot import HotTable, Ready
from edgecache.web.own_head import OwnHead
from edgecache.web.routing import Router

Headers = CIMultiDictProxy[str]

# Requests lately answered, as they came: the same bytes mean the same. Bytes of one, and how many.
LONGEST_REPEAT = 2048
MOST_REPEATS = 1024


NO_FRAME = Frame("", "")


class Asked:
    """What a GET asks for, as far as its bytes say."""

    __slots__ = (
        "_counted",
        "_frame",
        "_logged",
        "_series",
        "_target",
        "headers",
        "is_special",
        "key",
        "origin",
        "ready",
        "route",
        "validator",
    )

    def __init__(
        self, message: RawRequestMessage, key: ObjectKey, route: Route, own_head: OwnHead
    ) -> None:
        headers = message.headers
        self.headers = headers
        self.key = key
        self.route = route
        self._target = message.path
        self.origin = own_head.relevant(headers.get(hdrs.ORIGIN))
        self.is_special = is_special(headers)
        self.validator = validator(headers)
        self.ready: Ready | None = None  # the last answer that may be the next one, too
        self._counted = 0
        self._series: Series | None = None
        self._logged: tuple[object, ...] = ()
        self._frame = NO_FRAME

    def series(self, metrics: Metrics, status: int) -> Series:
        """What counts an answer with that status."""
        if self._series is None or self._counted != status:
            self._counted = status
            self._series = metrics.hit_series("GET", status, self.route.label, Result.HIT)
        return self._series

    def frame(self, access_log: AccessLog, ready: Ready, client: str) -> Frame:
        """Of the line that logs this answer to it."""
        logged = (client, ready.status, ready.length, ready.cache_status)
        if self._logged != logged:
            headers = self.headers
            self._logged = logged
            self._frame = access_log.frame(
                AccessEntry(
                    time=0.0,
                    client=client,
                    method="GET",
                    path=self._target,
                    status=ready.status,
                    bytes=ready.length,
                    range=headers.get(hdrs.RANGE, ""),
                    duration=0.0,
                    time_to_first_byte=0.0,
                    cache_status=ready.cache_status,
                    result=Result.HIT,
                    referer=headers.get(hdrs.REFERER, ""),
                    user_agent=headers.get(hdrs.USER_AGENT, ""),
                    request_id=headers.get("X-Request-Id", ""),
                )
            )
        return self._frame


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
        access_log: AccessLog | None,
        is_current: Callable[[], bool] | None = None,
    ) -> None:
        """`is_current`: whether the config is, None: always."""
        self._hits = hits
        self._router = router
        self._metrics = metrics
        self._hot = hot
        self._own_head = own_head
        self._clock = clock
        self._access_log = access_log
        self._is_current = is_current
        self._cells = hot.cells
        self._repeats: dict[bytes, Asked] = {}
        self.again = self._repeats.get

    def understand(self, message: RawRequestMessage) -> Asked | None:
        """What it asks for; None: it may not be answered here."""
        if (
            message.method != "GET"
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or not is_host(message.headers.get(hdrs.HOST, ""))
        ):
            return None
        try:
            key, route = self._router.resolve(message.path)
        except EdgecacheError:
            return None
        return Asked(message, key, route, self._own_head)

    def remember(self, data: bytes, asked: Asked) -> None:
        """`data`, and nothing else, is what the parser made `asked` of: `again` finds it."""
        if len(data) <= LONGEST_REPEAT:
            if len(self._repeats) >= MOST_REPEATS:
                self._repeats.clear()
            self._repeats[data] = asked

    def answer(self, asked: Asked, transport: asyncio.WriteTransport, client: str) -> int | None:
        """Answers on `transport`, whose buffer has room. How many bytes still wait there; None: it
        is not answered."""
        began = time.perf_counter()
        if self._is_current is not None and not self._is_current():
            return None
        now = self._clock()
        ready = asked.ready
        if (
            ready is None
            or not ready.since <= now < ready.until
            or self._cells[ready.slot] != ready.generation
        ):
            ready = asked.ready = self._hot_answer(asked, now)
            if ready is None and (ready := self._hit_answer(asked)) is None:
                return None
        if ready.hot is not None and ready.length:
            self._hot.use(ready.hot)
        duration = time.perf_counter() - began
        # Counted before it is sent: who is killed in between has not given what nobody counted.
        asked.series(self._metrics, ready.status).add(duration, duration, ready.length)
        if len(ready.pieces) == 1:
            transport.write(ready.pieces[0])
        else:
            transport.writelines(ready.pieces)
        if waiting := transport.get_write_buffer_size():
            self._hits.leave()
        if self._access_log is not None:
            frame = asked.frame(self._access_log, ready, client)
            self._access_log.record_hit(frame, now, duration)
        return waiting

    def _hot_answer(self, asked: Asked, now: float) -> Ready | None:
        """What was rendered before, if that is the answer."""
        hot = self._hot.get(asked.key)
        if hot is None:
            return None
        if not asked.is_special:
            if hot.body is None:
                return None
            status = 200
        elif asked.validator and asked.validator == hot.stored.meta.etag:
            status = 304
        else:
            return None  # it takes a plan, which others make
        return hot.rendered(status, now, asked.origin)

    def _hit_answer(self, asked: Asked) -> Ready | None:
        known = self._hot.generation(asked.key)
        hit = self._hits.hit(asked.key, asked.headers)
        if hit is None:
            return None
        own = self._own_head.lines(asked.headers.get(hdrs.ORIGIN))
        pieces = on_the_wire(f"{STATUS_LINES[hit.status]}{hit.head}{own}\r\n", hit.data)
        if hit.status == 200:
            self._hot.add(hit.stored, known, body=lambda: joined(hit.data))
        elif hit.status == 304:
            self._hot.add(hit.stored, known)
        length = sum(map(len, hit.data))
        return Ready(hit.status, length, hit.cache_status, pieces)


def is_special(headers: Headers) -> bool:
    """Whether the answer may be another than all of the object."""
    return (
        hdrs.RANGE in headers
        or hdrs.IF_NONE_MATCH in headers
        or hdrs.IF_MODIFIED_SINCE in headers
        or hdrs.IF_MATCH in headers
        or hdrs.IF_UNMODIFIED_SINCE in headers
    )


def validator(headers: Headers) -> str:
    """If all that is asked is whether the object is another one by now, the ETag it had (RFC 9110
    §13.2.2): as browsers ask, and what needs no parsing. Else ""."""
    if hdrs.IF_MATCH in headers or hdrs.IF_UNMODIFIED_SINCE in headers:
        return ""
    return headers.get(hdrs.IF_NONE_MATCH, "")


def joined(data: Sequence[Bytes]) -> bytes:
    return b"".join(data)
