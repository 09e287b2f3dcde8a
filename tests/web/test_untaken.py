"""After a hit no handler waits for the client: the connection looks after it. Who takes a little
is let be, however long it takes; who takes nothing is cut."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from aiohttp import web

from edgecache.config import Costs
from edgecache.config_listen import Listen, Tls
from edgecache.metrics import Metrics
from edgecache.web.fast import FastPath
from edgecache.web.listening import tls_context
from edgecache.web.protocol import Connection, HttpServer
from edgecache.web.untaken import untaken
from tests.certificates import make_certificate
from tests.waiting import until

REQUEST = b"GET / HTTP/1.1\r\nHost: e\r\n\r\n"
# More than the kernel takes in.
BODY = bytes(16 * 2**20)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
NEVER = 1000.0


class Hit:
    """A fast path that answers all there is with one body."""

    again: Callable[[bytes], None] = staticmethod(lambda _: None)
    remember = staticmethod(lambda *_: None)

    def understand(self, _: object) -> object:
        return Asked()

    def answer(self, _: object, transport: asyncio.WriteTransport, __: str) -> int:
        transport.write(ANSWER)
        return transport.get_write_buffer_size()


class Asked:
    headers: ClassVar[dict[str, str]] = {}


@dataclass
class Slow:
    """A server whose answers are long, and a client that reads when it is told to."""

    server: HttpServer
    tls: ssl.SSLContext | None
    readers: list[asyncio.StreamReader] = field(default_factory=list)

    @property
    def connections(self) -> float:
        return self.server.metrics.total("http_connections")

    @property
    def connection(self) -> Connection:
        (connection,) = self.server.connections
        return cast(Connection, connection)

    async def read(self, count: int) -> bytes:
        return await asyncio.wait_for(self.readers[-1].readexactly(count), 20)


async def hit(slow: Slow, port: int) -> asyncio.StreamWriter:
    """Asks, and does not read."""
    end = socket.socket()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    end.setblocking(False)
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    name = "localhost" if slow.tls else None
    reader, writer = await asyncio.open_connection(
        sock=end, ssl=slow.tls, server_hostname=name, limit=2**16
    )
    slow.readers.append(reader)
    writer.write(REQUEST)
    await until(lambda: slow.connections and slow.connection._request_count)
    return writer


@asynccontextmanager
async def asked(
    tmp_path: Path, *, secure: bool = False, **limits: float
) -> AsyncIterator[tuple[Slow, asyncio.StreamWriter]]:
    ours = theirs = None
    if secure:
        make_certificate(tmp_path, "slow")
        ours = tls_context(Tls(cert=tmp_path / "tls.pem", key=tmp_path / "tls.key"))
        theirs = ssl.create_default_context(cafile=tmp_path / "tls.pem")
        theirs.check_hostname = False
    server = HttpServer(Listen(**cast(dict[str, Any], limits)), Metrics(Costs()))
    server.use(never, cast(FastPath, Hit()))
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=ours)
    slow = Slow(server, theirs)
    writer = await hit(slow, listener.sockets[0].getsockname()[1])
    try:
        yield slow, writer
    finally:
        writer.transport.abort()
        listener.close()
        await server.shutdown(0.01)


async def never(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("not for the handler")


over_tls = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


@over_tls
async def test_what_a_client_has_not_taken_yet(secure: bool, tmp_path: Path) -> None:
    """TLS has a transport beneath, whose buffer can't be seen."""
    limits = {"keepalive_timeout": NEVER, "write_timeout": NEVER}
    async with asked(tmp_path, secure=secure, **limits) as (slow, _):
        transport = slow.connection.transport
        assert transport is not None
        before = untaken(transport)
        assert before
        await slow.read(len(ANSWER) // 2)
        await until(lambda: untaken(transport) != before)
        assert untaken(transport)
        await slow.read(len(ANSWER) - len(ANSWER) // 2)
        await until(lambda: not untaken(transport))
        transport.abort()
        await until(lambda: not slow.connections)
        assert not untaken(transport)


@over_tls
async def test_a_connection_is_not_idle_while_its_client_takes_an_answer(
    secure: bool, tmp_path: Path
) -> None:
    limits = {"keepalive_timeout": 0.02, "write_timeout": NEVER}
    async with asked(tmp_path, secure=secure, **limits) as (slow, _):
        connection = slow.connection
        begun = connection._next_keepalive_close_time
        await until(lambda: connection._next_keepalive_close_time > begun + 0.1)
        assert not connection._force_close
        assert await slow.read(len(ANSWER)) == ANSWER
        await until(lambda: not slow.connections)  # and then it is


@over_tls
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"keepalive_timeout": 0.02, "write_timeout": 0.05}, id="idle"),
        pytest.param({"keepalive_timeout": 0.05, "write_timeout": 0.02}, id="unwatched"),
    ],
)
async def test_who_takes_nothing_of_a_hit_is_cut(
    secure: bool, limits: dict[str, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "edgecache.http")
    async with asked(tmp_path, secure=secure, **limits) as (slow, _):
        await until(lambda: not slow.connections)
    assert caplog.text.count("the client does not read") == 1


@over_tls
async def test_a_drain_waits_for_who_takes_a_hit(secure: bool, tmp_path: Path) -> None:
    async with asked(tmp_path, secure=secure) as (slow, _):
        slow.server.pre_shutdown()

        async def drained() -> float:
            await slow.server.shutdown(20)
            return slow.connections

        got, connections = await asyncio.gather(slow.read(len(ANSWER)), drained())
        assert got == ANSWER
        assert not connections


async def test_a_drain_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    async with asked(tmp_path) as (slow, _):
        slow.server.pre_shutdown()
        await asyncio.wait_for(slow.server.shutdown(0.05), 10)
        assert slow.connections


class Stuck:
    """A transport whose client takes what `left` says."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.aborted = False

    def get_extra_info(self, _: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    ("taken", "asked_again", "is_cut"),
    [
        pytest.param(0, False, True, id="nothing"),
        pytest.param(1, False, False, id="something"),
        pytest.param(1000, False, False, id="all of it"),
        pytest.param(0, True, False, id="it has asked for more: another answer is under way"),
    ],
)
async def test_only_a_client_that_takes_nothing_is_cut(
    taken: int, asked_again: bool, is_cut: bool
) -> None:
    server = HttpServer(Listen(), Metrics(Costs()))
    connection = server()
    assert isinstance(connection, Connection)
    transport = Stuck(1000 - taken)
    connection._request_count = 1 + asked_again
    connection._look_again(cast(asyncio.WriteTransport, transport), 1, 1000)
    assert transport.aborted is is_cut
