"""The keeper's side of the relay: what workers hand over, on a Unix socket that is theirs alone.

Rule of this module: a request is handled as on the public port. Only who sent it is read from the
worker's field, and no setting limits anything here: the workers' own hold.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from aiohttp import web
from multidict import CIMultiDictProxy

from edgecache.config_listen import Listen
from edgecache.metrics import Metrics
from edgecache.web.peer import FIELD, GREETING, INTERNAL, PEER, Peer, decode
from edgecache.web.protocol import Connection, HttpServer

YEAR = 365 * 86400.0
# Connects that wait while a keeper starts: each worker's requests of that time.
BACKLOG = 4096

OnMessage = Callable[[str, bytes], None]


class RelayedConnection(Connection):
    """One worker's connection, for one client after the other."""

    __slots__ = ()

    MAX_FIELDS: ClassVar = Connection.MAX_FIELDS + 4  # the worker's own come on top
    COUNTS: ClassVar = False

    def peer(self, headers: CIMultiDictProxy[str]) -> Peer:
        return decode(headers.get(FIELD, ""))  # the first: a worker's stands before all others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            self.transport.write(GREETING)


class NoGreeting(asyncio.Protocol):
    """A connection that no descriptor is left for: the worker tries again, for a while."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class RelayedServer(HttpServer):
    def __init__(self, limits: Listen, metrics: Metrics, on_message: OnMessage) -> None:
        """`on_message` gets path and data of what a worker tells in its own name."""
        without = {
            "header_timeout": YEAR,
            "keepalive_timeout": YEAR,
            "trusted_proxies": (),
            "max_connections": sys.maxsize,
        }
        super().__init__(limits.model_copy(update=without), metrics)
        self._on_message = on_message

    def __call__(self) -> web.RequestHandler:
        if self.is_full:
            return NoGreeting()  # type: ignore[return-value]  # the loop only wants a protocol
        return RelayedConnection(self)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST" or request[PEER] != INTERNAL:
            return await super().handle(request)
        self._on_message(request.raw_path, await request.content.read())
        return web.Response(status=204)


class RelaySite(web.BaseSite):
    """Listens on a Unix socket that outlives this process: neither made nor removed here."""

    def __init__(self, runner: web.BaseRunner, listener: socket.socket) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._listener = listener

    @property
    def name(self) -> str:
        return f"unix:{self._listener.getsockname()}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {}
        if sys.version_info >= (3, 13) and isinstance(loop, asyncio.BaseEventLoop):
            options["cleanup_socket"] = False  # uvloop has no such option, nor the habit
        server = self._runner.server
        assert server is not None  # noqa: S101  # set up before it is given a site
        self._server = await loop.create_unix_server(
            server, sock=self._listener, backlog=self._backlog, **options
        )
