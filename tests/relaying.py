"""A keeper behind a worker that answers nothing itself, in one process, over a real socket; and
keepers that are scripts.

Rule of this module: a worker here is as little as can be. What it does is the relay's.
"""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edgecache.config import Costs
from edgecache.config_listen import Listen
from edgecache.core.errors import Unavailable
from edgecache.metrics import Metrics
from edgecache.web.app import Server
from edgecache.web.exchange import Exchange
from edgecache.web.own_head import OwnHead
from edgecache.web.peer import GREETING
from edgecache.web.protocol import Handler, HttpServer
from edgecache.web.refusal import refuse
from edgecache.web.relay import Relay
from edgecache.web.relayed import OnMessage, RelayedServer, RelaySite
from tests import serving
from tests.serving import Reply, Wire, parse_replies

# A request that ends its connection.
CLOSE = b"GET /outputs/a.png HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n"
NOON = 1_750_000_000.0


class Worker:
    """A public port of which everything is relayed. `refused`: what it had to answer itself."""

    def __init__(self, relay: Relay, limits: Listen, metrics: Metrics | None = None) -> None:
        self.relay = relay
        self.refused: list[Exchange] = []
        self.metrics = metrics or Metrics(Costs())
        self.server = HttpServer(limits, self.metrics)
        self.server.use(self.handle)
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange(request, write_timeout=10)
        try:
            return await self.relay.forward(request, exchange.peer)
        except Unavailable as error:
            await refuse(exchange, error, OwnHead(["*"]), now=NOON)
            self.refused.append(exchange)
            return exchange.end()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Worker"]:
        runner = web.ServerRunner(self.server, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site.port}"
        try:
            yield self
        finally:
            await runner.cleanup()
            await self.relay.close()


@asynccontextmanager
async def worker_on(
    path: Path, *, patience: float = 5, write_timeout: float = 5, **limits: Any
) -> AsyncIterator[Worker]:
    relay = Relay(path, patience=patience, write_timeout=write_timeout)
    async with Worker(relay, Listen(**limits)).listening() as worker:
        yield worker


def listen_on(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def keeper_on(
    listener: socket.socket, handler: Handler, on_message: OnMessage = lambda *_: None
) -> AsyncIterator[RelayedServer]:
    """A keeper that ends but leaves its socket for the next one."""
    server = RelayedServer(Listen(), Metrics(Costs()), on_message)
    server.use(handler)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    await RelaySite(runner, listener.dup()).start()
    try:
        yield server
    finally:
        await runner.cleanup()


class Caller:
    """A connection that a worker made, as a scripted keeper sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def die(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Caller], Awaitable[None]]


@asynccontextmanager
async def scripted(path: Path, script: Script, *, greets: bool = True) -> AsyncIterator[list[int]]:
    """A keeper that plays `script` on each connection; gives the connections' numbers."""
    callers: list[int] = []
    running: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(len(callers))
        caller = Caller(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            if greets:
                await caller.send(GREETING)
            await script(caller)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            running.discard(task)

    server = await asyncio.start_unix_server(play, path)
    try:
        yield callers
    finally:
        server.close()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


class RelayedServerApp(Server):
    """edgecache with a worker before it: `url` is the worker's, `direct` its own."""

    direct = ""
    worker: Worker

    async def start(self, number: int = 0) -> None:
        await super().start(number)
        self.direct = self.url
        # Not in the test's folder, whose name may be longer than a socket's may.
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(folder) / "keeper"
        listener = self._stack.enter_context(listen_on(path))
        handler: Handler = self._public.request_handler
        await self._stack.enter_async_context(keeper_on(listener, handler))
        limits = self.config.listen.model_copy(update={"port": 0})
        relay = Relay(path, patience=5, write_timeout=limits.write_timeout)
        self.worker = await self._stack.enter_async_context(
            Worker(relay, limits, self.metrics).listening()
        )
        self.url = self.worker.url


@pytest.fixture
def relayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers have a worker before them; multipart answers have one boundary."""
    monkeypatch.setattr(serving, "Server", RelayedServerApp)
    monkeypatch.setattr("secrets.token_hex", lambda size: "b" * 2 * size)


async def connect(worker: Worker) -> Wire:
    host, port = worker.url.removeprefix("http://").split(":")
    return Wire(*await asyncio.open_connection(host, int(port)))


async def ask(worker: Worker, data: bytes = CLOSE) -> bytes:
    """All that comes until the connection ends."""
    wire = await connect(worker)
    await wire.send_all(data)
    answer = await wire.rest()
    wire.close()
    return answer


async def reply(worker: Worker, data: bytes = CLOSE) -> Reply:
    (only,) = parse_replies(await ask(worker, data))
    return only
