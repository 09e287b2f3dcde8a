"""One request and what becomes of it: writes the answer, keeps the figures for log and metrics.

Rule of this module: one head, in one write with the first bytes, and no wait unless the client
falls behind. aiohttp's own response objects cost more than all the rest of a hit.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from edgecache.core.accesslog import AccessEntry
from edgecache.core.model import ObjectKey, Result, Source
from edgecache.store import Bytes
from edgecache.web.peer import PEER

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
# What nginx made the log's word for a client that left before its answer began.
CLIENT_LEFT = 499
# Up to this size, joining head and body costs less than writing two buffers.
JOIN_LIMIT = 2**15


# RFC 9110 §7.2, RFC 3986 §3.2.2; empty where the target has no authority.
HOST = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")


@lru_cache(maxsize=256)
def is_host(text: str) -> bool:
    """Whether that is a Host field's value."""
    return HOST.fullmatch(text) is not None


def on_the_wire(head: str, data: Sequence[Bytes]) -> tuple[Bytes, ...]:
    """The head and the first bytes of the body, for one write."""
    # surrogateescape: a field value keeps the origin's bytes, as aiohttp decoded them.
    first = head.encode("utf-8", "surrogateescape")
    if sum(map(len, data)) <= JOIN_LIMIT:
        return (b"".join((first, *data)),)
    return (first, *data)


def connection_line(version: tuple[int, int], *, keep_alive: bool) -> str:
    """What a client of that version has to be told of its connection; "" is what it assumes."""
    if version >= (1, 1):
        return "" if keep_alive else "Connection: close\r\n"
    return "Connection: keep-alive\r\n" if keep_alive else ""


def stays_open(request: web.BaseRequest) -> bool:
    """A body has no meaning here, and what follows it can't be trusted: close behind it."""
    return request.keep_alive and not request.can_read_body


class Written(web.StreamResponse):
    """Tells aiohttp that the answer is written. Without state: two instances serve all."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keeps = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


KEPT = Written(keep_alive=True)
CLOSED = Written(keep_alive=False)


class Exchange:
    __slots__ = (
        "_began",
        "_first_byte",
        "_keep_alive",
        "_timeout",
        "cache_status",
        "key",
        "peer",
        "request",
        "result",
        "route",
        "sent",
        "status",
        "unsourced",
    )

    def __init__(self, request: web.BaseRequest, write_timeout: float) -> None:
        self._began = time.perf_counter()
        self._first_byte = 0.0
        self._keep_alive = stays_open(request)
        self._timeout = write_timeout
        self.request = request
        self.peer = request[PEER]
        self.route = "-"
        self.key: ObjectKey | None = None
        self.result = Result.ERROR
        self.status = CLIENT_LEFT
        self.cache_status = ""
        self.sent: dict[Source, int] = {}
        self.unsourced = 0  # body bytes of our own making, or counted elsewhere

    @property
    def has_begun(self) -> bool:
        return bool(self._first_byte)

    async def begin(self, status: int, head: str, *data: Bytes, source: Source | None) -> None:
        """The head, whose field lines are `head`, and the first bytes of the body.

        `source` None: these bytes are no client bytes of this process.

        :raises ConnectionError: the client has left; TimeoutError: it takes nothing.
        """
        transport = self._transport()
        self.status = status
        request = self.request
        request.writer.output_size += 1  # aiohttp's sign that an answer has begun
        connection = connection_line(request.version, keep_alive=self._keep_alive)
        head = f"{STATUS_LINES[status]}{head}{connection}\r\n"
        transport.writelines(on_the_wire(head, data))
        self._first_byte = time.perf_counter()
        self._count(source, sum(map(len, data)))
        await self._drained()

    async def write(self, source: Source | None, data: Bytes) -> None:
        """:raises ConnectionError: the client has left; TimeoutError: it takes nothing."""
        self._transport().write(data)
        self._count(source, len(data))
        await self._drained()

    def _count(self, source: Source | None, count: int) -> None:
        if source is None:
            self.unsourced += count
        else:
            self.sent[source] = self.sent.get(source, 0) + count

    def cut(self) -> None:
        """Ends the connection such that the client sees an incomplete body, not a short one."""
        if self.request.transport is not None:
            self.request.transport.abort()

    def end(self) -> Written:
        return KEPT if self._keep_alive else CLOSED

    @property
    def duration(self) -> float:
        return time.perf_counter() - self._began

    @property
    def time_to_first_byte(self) -> float:
        """In seconds; 0 if there was none."""
        return max(self._first_byte - self._began, 0.0)

    def entry(self, now: float) -> AccessEntry:
        headers = self.request.headers
        return AccessEntry(
            time=now,
            client=self.peer.client,
            method=self.request.method,
            path=self.request.raw_path,
            status=self.status,
            bytes=sum(self.sent.values()) + self.unsourced,
            range=headers.get("Range", ""),
            duration=self.duration,
            time_to_first_byte=self.time_to_first_byte,
            cache_status=self.cache_status,
            result=self.result,
            referer=headers.get("Referer", ""),
            user_agent=headers.get("User-Agent", ""),
            request_id=self.peer.request_id,
        )

    def _transport(self) -> asyncio.WriteTransport:
        transport = self.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        return transport

    async def _drained(self) -> None:
        if self.request.protocol.writing_paused:
            async with asyncio.timeout(self._timeout):
                await self.request.writer.drain()
