"""aiohttp's connection handling with our limits: time for a request's head, number of connections.

Rule of this module: whatever arrives that is not HTTP gets a short 4xx and one bounded log line.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar, cast

import aiohttp.http_parser
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy

from edgecache.config_listen import Listen
from edgecache.core.errors import ConfigError
from edgecache.descriptors import most_connections
from edgecache.metrics import Metrics
from edgecache.web.fast import Asked, FastPath
from edgecache.web.forwarded import Networks, forwarded
from edgecache.web.peer import PEER, Peer
from edgecache.web.untaken import untaken

log = logging.getLogger("edgecache.http")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# What may wait in a connection before its handler does. Less than a piece: the handler goes on to
# the next slice when hardly a byte of the one before is left, whose buffer each byte pins.
WRITE_BUFFER = 2**16
# What of a request's body may wait, twice: nobody reads more than that ahead.
READ_BUFFER = 2**16
# What may wait in the kernel beyond what is on its way: else megabytes of a video that nobody will
# watch are bought from the origin to fill a send buffer.
UNSENT_OPTION: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
UNSENT_LIMIT = 2**20
# A body that a GET should not have is read this long, then the connection is closed.
LINGER = 2.0
# No request's number.
NOBODY = -1


def require_c_parser() -> None:
    """:raises ConfigError: aiohttp's Python parser is in use, which has a record of smuggling."""
    if aiohttp.http_parser.HttpRequestParser is aiohttp.http_parser.HttpRequestParserPy:
        raise ConfigError(
            "aiohttp runs without its C parser",
            hint="unset AIOHTTP_NO_EXTENSIONS, and install aiohttp from a wheel",
        )


def bare_answer(status: HTTPStatus, *fields: str) -> bytes:
    """An answer for a connection that has no request to answer; the connection ends with it."""
    text = f"{status.phrase}\n"
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain",
        f"Content-Length: {len(text)}",
        "Connection: close",
        *fields,
        "",
        text,
    ]
    return "\r\n".join(lines).encode()


class Connection(web.RequestHandler):
    """One client connection."""

    __slots__ = (
        "_client",
        "_head_timer",
        "_is_between",
        "_is_proxy",
        "_limits",
        "_lost",
        "_metrics",
        "_scheme",
        "_server",
        "_watched",
    )

    MAX_FIELDS: ClassVar = 128
    COUNTS: ClassVar = True  # as a client's

    def __init__(self, server: "HttpServer") -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to switch it off
            lingering_time=LINGER,
            max_headers=self.MAX_FIELDS,
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )
        self._server = server
        self._limits = limits
        self._metrics = server.metrics
        self._client = "-"
        self._scheme = "http"
        self._is_proxy = False
        self._is_between = True  # the parser is: between two requests
        self._head_timer: asyncio.TimerHandle | None = None
        self._watched = NOBODY  # the request whose answer `_look_again` looks after
        self._lost: asyncio.Event | None = None

    def peer(self, headers: CIMultiDictProxy[str]) -> Peer:
        """Who sent a request with these fields."""
        client, scheme = self._client, self._scheme
        if self._is_proxy:
            client, scheme = forwarded(headers, client, scheme, self._server.trusted)
        return Peer(client, scheme, headers.get("X-Request-Id", ""))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.COUNTS:
            self._metrics.connections.inc()
        if peer := transport.get_extra_info("peername"):
            self._client = str(peer[0])
            self._is_proxy = self._client in self._server.trusted
        if transport.get_extra_info("sslcontext"):
            self._scheme = "https"
        # cast: uvloop's transports are not asyncio's by class.
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=WRITE_BUFFER)
        connection = transport.get_extra_info("socket")
        if UNSENT_OPTION is not None and connection is not None:
            with suppress(OSError):  # the client has left already
                connection.setsockopt(socket.IPPROTO_TCP, UNSENT_OPTION, UNSENT_LIMIT)

    def data_received(self, data: bytes) -> None:
        if (
            self._is_between
            and (asked := self._server.again(data)) is not None
            and self._answer_again(asked)
        ):
            return
        before = self._request_count
        waiter, self._waiter = self._waiter, None  # not to be woken for what is answered here
        super().data_received(data)
        self._waiter = waiter
        # One request without a body and not a byte more. Else the parser is somewhere in one.
        self._is_between = (
            self._is_between
            and self._request_count == before + 1
            and self._messages[-1][1] is EMPTY_PAYLOAD
            and data.find(b"\r\n\r\n") == len(data) - 4
        )
        if waiter is not None and not waiter.done() and self._messages:
            self._answer_or_wake(waiter, data)
        if self._request_count != before:
            self._stop_head_timer()
        elif self._head_timer is None and self._is_idle():
            self._head_timer = self._loop.call_later(
                self._limits.header_timeout, self._head_is_late
            )

    def _answer_again(self, asked: Asked) -> bool:
        """Answers a request whose very bytes the parser has accepted before, between requests as
        now: it would say the same."""
        waiter, fast = self._waiter, self._server.fast
        if waiter is None or waiter.done() or self._messages or fast is None:
            return False
        self._request_count += 1  # as aiohttp does for what it parses
        if self._answer(fast, asked):
            return True
        self._request_count -= 1
        return False

    def _answer_or_wake(self, waiter: asyncio.Future[None], data: bytes) -> None:
        """Answers the request that came, with aiohttp none the wiser, or lets it have it."""
        message, payload = self._messages[0]
        if (
            len(self._messages) > 1
            or payload is not EMPTY_PAYLOAD
            or not isinstance(message, RawRequestMessage)
            or (fast := self._server.fast) is None
            or (asked := fast.understand(message)) is None
            or not self._answer(fast, asked)
        ):
            waiter.set_result(None)
            return
        self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._is_between:
            fast.remember(data, asked)

    def _answer(self, fast: FastPath, asked: Asked) -> bool:
        transport = self.transport
        if (
            transport is None
            or transport.is_closing()
            or self._close
            or self._force_close
            or self.writing_paused
        ):
            return False
        client = self.peer(asked.headers).client if self._is_proxy else self._client
        waiting = fast.answer(asked, transport, client)
        if waiting is None:
            return False
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if waiting > WRITE_BUFFER:  # and no handler waits for the client
            self._watch(transport, waiting)
        return True

    def _watch(self, transport: asyncio.WriteTransport, left: int) -> None:
        self._watched = self._request_count
        self._loop.call_later(
            self._limits.write_timeout, self._look_again, transport, self._watched, left
        )

    def _look_again(self, transport: asyncio.WriteTransport, request: int, left: int) -> None:
        """Cuts a client that took nothing of its last answer in all that time."""
        if self._manager is None or self._request_count != request:
            return  # it has left, or another answer is under way
        if not (now_left := untaken(transport)):
            self._watched = NOBODY
        elif now_left != left:
            self._watch(transport, now_left)
        else:
            log.info("answer cut client=%s reason=the client does not read", self._client)
            transport.abort()

    def _process_keepalive(self) -> None:
        """A client that still takes an answer is not idle."""
        transport = self.transport
        if transport is not None and self._is_idle() and self._see_to(transport):
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _see_to(self, transport: asyncio.WriteTransport) -> bool:
        """Whether the client has yet to take some of its last answer, which is looked after."""
        if (left := untaken(transport)) and self._watched != self._request_count:
            self._watch(transport, left)
        return left > 0

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        if self.COUNTS:
            self._metrics.connections.dec()
        super().connection_lost(exc)
        if self._lost is not None:
            self._lost.set()

    async def start(self) -> None:
        """A closed transport first sends what it still has, and would wait for ever for a client
        that takes nothing."""
        transport = self.transport
        try:
            await super().start()
        finally:
            if transport is not None:
                self._see_to(transport)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """As aiohttp's, which waits twice for a handler; what a hit wrote has none, and as long."""
        transport, deadline = self.transport, self._loop.time() + 2 * (timeout or 0)
        await super().shutdown(timeout)
        if transport is not None and self._manager is not None and untaken(transport):
            self._lost = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._lost.wait()

    def _is_idle(self) -> bool:
        return self._current_request is None and not self._messages

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport is not None and self._is_idle():
            self._metrics.bad_requests.inc()
            log.info("request head not complete in time client=%s", self._client)
            self.transport.write(bare_answer(HTTPStatus.REQUEST_TIMEOUT))
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser refused, or a handler let through; never a traceback to the client."""
        client = request[PEER].client
        if status < 500:
            self._metrics.bad_requests.inc()
            # The first line: the others quote what came, which may hold a token.
            reason = (message or str(exc)).partition("\n")[0]
            log.info("bad request client=%s reason=%.200r", client, reason)
        else:
            log.error("request failed client=%s error=%r", client, exc, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: it can only be cut")
        response = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n")
        response.headers["Server"] = "edgecache"
        response.force_close()
        return response


def make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """As aiohttp makes it, and it knows who sent it."""
    request = web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())
    request[PEER] = cast(Connection, protocol).peer(message.headers)
    return request


class Refusal(asyncio.Protocol):
    """A connection above the limit: told to come back, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        answer = bare_answer(HTTPStatus.SERVICE_UNAVAILABLE, "Retry-After: 1")
        cast(asyncio.WriteTransport, transport).write(answer)
        transport.close()


def unknown(_: bytes) -> None:
    """No request was answered before."""


class HttpServer(web.Server):
    """The low-level server: one handler for every request, no routing, no Application."""

    def __init__(self, limits: Listen, metrics: Metrics) -> None:
        # Cancelled, a handler notices at once that its client has left, not at its next write: no
        # slice more is bought. What others share runs in tasks of its own.
        super().__init__(self.handle, request_factory=make_request, handler_cancellation=True)
        self.limits = limits
        self.metrics = metrics
        self.fast: FastPath | None = None
        self.again: Callable[[bytes], Asked | None] = unknown
        self._handler: Handler | None = None
        self.trusted = Networks(limits.trusted_proxies)
        self._most = min(limits.max_connections, most_connections())

    def use(self, handler: Handler, fast: FastPath | None = None) -> None:
        """Requests from now on are theirs."""
        self._handler, self.fast = handler, fast
        self.again = unknown if fast is None else fast.again

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._handler is None:
            raise RuntimeError("a server without a handler")
        return await self._handler(request)

    @property
    def is_full(self) -> bool:
        return len(self._connections) >= self._most

    def __call__(self) -> web.RequestHandler:
        if self.is_full:
            self.metrics.connections_refused.inc()
            return Refusal()  # type: ignore[return-value]  # the loop only wants a protocol
        return Connection(self)
