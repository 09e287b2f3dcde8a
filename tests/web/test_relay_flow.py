"""The relay holds little, however slow either side is, and tells each side that the other left."""

import asyncio
import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from edgecache.web.keeper import LEAST_READ, KeeperConnection
from edgecache.web.relay import HELD, ToClient
from tests.relaying import Caller, Worker, keeper_on, listen_on, scripted, worker_on
from tests.serving import Wire, request_bytes
from tests.waiting import PATIENCE, until

MIB = 2**20
LARGE = 32 * MIB
GET = request_bytes("GET", "/")


async def slow_client(worker: Worker) -> Wire:
    """It takes no more than it reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
    client.setblocking(False)
    where = urlsplit(worker.url)
    await asyncio.get_running_loop().sock_connect(client, (where.hostname, where.port))
    return Wire(*await asyncio.open_connection(sock=client, limit=2**14))


async def only_connection(worker: Worker) -> KeeperConnection:
    await until(lambda: bool(worker.relay._keepers._open))
    (connection,) = worker.relay._keepers._open
    return connection


def held_for_client(worker: Worker) -> int:
    return sum(
        one.transport.get_write_buffer_size() for one in worker.server.connections if one.transport
    )


async def happens(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


# Up


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_whose_reader_is_slow(tmp_path: Path, chunked: bool) -> None:
    data = bytes(range(256)) * (10 * MIB // 256)
    held: list[int] = []
    arrived = bytearray()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        while piece := await request.content.read(MIB):
            arrived.extend(piece)
            for _ in range(20):  # the relay goes on as far as it may
                await asyncio.sleep(0)
                held.append(held_of_body(worker))
        return web.Response(text="done")

    field = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(data)))
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if chunked else data
    with listen_on(tmp_path / "k") as listener:
        async with keeper_on(listener, handler), worker_on(tmp_path / "k") as worker:
            wire = await slow_client(worker)
            await wire.send(request_bytes("POST", "/", [field]) + body)
            assert (await wire.reply()).body == b"done"
            wire.close()
    assert arrived == data
    assert 0 < max(held) < MIB


def held_of_body(worker: Worker) -> int:
    connections = worker.relay._keepers._open
    buffered = sum(c._transport.get_write_buffer_size() for c in connections if c._transport)
    requests = [one._current_request for one in worker.server.connections]
    return buffered + sum(request.content._size for request in requests if request is not None)


async def test_an_early_answer_ends_the_upload(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await caller.reader.read()
        left.set()

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        wire = await slow_client(worker)
        await wire.send(request_bytes("POST", "/", [("Content-Length", "1000")]) + b"some")
        assert (await wire.reply()).status == 405
        await happens(left)
        assert len(worker.relay._tasks) == 0
        wire.close()


async def test_a_client_that_leaves_in_its_body_leaves_the_keeper(tmp_path: Path) -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        came.set()
        await caller.reader.read()
        left.set()

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        wire = await slow_client(worker)
        await wire.send(request_bytes("POST", "/", [("Content-Length", "1000")]) + b"some")
        await happens(came)
        wire.close()
        await happens(left)


# Down


async def send_large(caller: Caller) -> None:
    await caller.head()
    await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE))
    await caller.reader.read()


async def test_a_slow_client_holds_up_the_keeper(tmp_path: Path) -> None:
    async with scripted(tmp_path / "k", send_large), worker_on(tmp_path / "k") as worker:
        wire = await slow_client(worker)
        await wire.send(GET)
        connection = await only_connection(worker)
        await until(lambda: connection.paused)
        most, left = 0, LARGE
        await wire.reader.readuntil(b"\r\n\r\n")
        while left:
            most = max(most, held_for_client(worker))
            left -= len(await wire.reader.read(left))
        assert HELD // 4 < most <= HELD + LEAST_READ
        await until(lambda: repr(worker.relay._keepers) == "<Keepers 1 open, 1 idle>")
        wire.close()


async def test_a_client_that_takes_nothing_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgecache")
    left = asyncio.Event()

    async def script(caller: Caller) -> None:
        try:
            await send_large(caller)
        finally:
            left.set()

    async with (
        scripted(tmp_path / "k", script),
        worker_on(tmp_path / "k", write_timeout=0.02) as worker,
    ):
        wire = await slow_client(worker)
        await wire.send(GET)
        await happens(left)
        assert 0 < len(await wire.rest()) < LARGE
        wire.close()
    assert caplog.messages == ["answer cut target='/' reason=the client does not read"]


async def test_the_end_of_an_answer_is_waited_for_too(tmp_path: Path) -> None:
    """Nothing is left for the client's next request to pile up on."""

    async def script(caller: Caller) -> None:
        while True:
            await caller.head()
            await caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB + bytes(MIB))

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        wire = await slow_client(worker)
        await wire.send(GET * 20)
        for _ in range(20):
            await wire.reader.readuntil(b"\r\n\r\n")
            left = MIB
            while left:
                assert held_for_client(worker) <= HELD + LEAST_READ
                left -= len(await wire.reader.read(left))
        wire.close()


# Leaving


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_cancels_the_keepers_handler(
    tmp_path: Path, begun: bool
) -> None:
    came, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if begun:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"some")
        came.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("for ever")

    with listen_on(tmp_path / "k") as listener:
        async with keeper_on(listener, handler), worker_on(tmp_path / "k") as worker:
            wire = await slow_client(worker)
            await wire.send(GET)
            if begun:
                await wire.reader.readuntil(b"some")
            await happens(came)
            wire.close()
            for _ in range(20):  # turns of the loop that all three share
                await asyncio.sleep(0)
            assert cancelled.is_set()
            await until(lambda: repr(worker.relay._keepers) == "<Keepers 0 open, 0 idle>")


async def test_a_client_that_leaves_while_no_keeper_answers(tmp_path: Path) -> None:
    with listen_on(tmp_path / "k"):
        async with worker_on(tmp_path / "k", patience=60) as worker:
            wire = await slow_client(worker)
            await wire.send(GET)
            await only_connection(worker)
            wire.close()
            await until(lambda: not worker.relay._keepers._open)
            assert worker.refused == []


async def test_a_relay_that_closes_cuts_what_runs(tmp_path: Path) -> None:
    async with scripted(tmp_path / "k", send_large), worker_on(tmp_path / "k") as worker:
        wire = await slow_client(worker)
        await wire.send(GET)
        await wire.reader.readuntil(b"\r\n\r\n")
        await worker.relay.close()
        assert len(await wire.rest()) < LARGE
        wire.close()


async def test_nothing_is_written_to_a_client_that_has_left() -> None:
    """uvloop's transports raise then, in the middle of the keeper's data."""

    class Left(asyncio.WriteTransport):
        def is_closing(self) -> bool:
            return True

        def write(self, data: object) -> None:
            raise RuntimeError("the handler is closed")

    request = make_mocked_request("GET", "/outputs/a.png")
    to_client = ToClient(request, Left(), write_timeout=1)
    assert not to_client.more(b"data")
    to_client.interim(b"HTTP/1.1 103 Early Hints\r\n\r\n")
