"""What becomes of a request when the keeper is dead or dies; and the worker's own requests.

The bytes that pass are in tests/web/test_relay_bytes.py, how slowly in test_relay_flow.py."""

import asyncio
import logging
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from aiohttp import web

from edgecache.core.errors import Unavailable, UpstreamError
from edgecache.web.peer import INTERNAL, PEER, Peer
from tests import relaying, serving
from tests.relaying import (
    CLOSE,
    Caller,
    RelayedServerApp,
    ask,
    keeper_on,
    listen_on,
    reply,
    scripted,
    worker_on,
)
from tests.serving import SLICE, Serve, request_bytes
from tests.waiting import PATIENCE, until

serve = serving.serve
relayed = relaying.relayed
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATH = "/outputs/a.png"
CLIENT = Peer("1.2.3.4", "http", "id")


# A keeper that is not there


async def test_without_a_keeper_a_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with worker_on(tmp_path / "none", patience=0.01) as worker:
        answer = await reply(worker)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert answer.body == b"not ready, try again\n"
        assert answer.headers["Cache-Control"] == "no-store"
        (refused,) = worker.refused
    assert (refused.status, refused.unsourced, refused.result) == (503, 21, "error")
    assert caplog.messages == [
        "GET '/outputs/a.png' failed status=503 reason=not ready, try again no keeper answers"
    ]


async def test_a_backlog_is_no_keeper(tmp_path: Path) -> None:
    """Its connection is accepted by the system alone."""
    with listen_on(tmp_path / "k"):
        async with worker_on(tmp_path / "k", patience=0.01) as worker:
            assert (await reply(worker)).status == 503


@pytest.mark.parametrize("listens", [True, False])
async def test_a_keeper_that_comes_in_time(tmp_path: Path, listens: bool) -> None:
    """After its socket, which its predecessor left, or with it."""

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="here")

    path = tmp_path / "k"
    async with AsyncExitStack() as stack:
        listener = listen_on(path) if listens else None
        worker = await stack.enter_async_context(worker_on(path))
        waiting = asyncio.create_task(reply(worker))  # noqa: TID251
        await until(lambda: worker.server.requests_count == 1)
        listener = stack.enter_context(listener or listen_on(path))
        await stack.enter_async_context(keeper_on(listener, handler))
        assert (await waiting).body == b"here"


async def test_an_idle_connection_that_died_costs_nothing(tmp_path: Path) -> None:
    """The keeper closes it when the next request is on its way already."""

    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(OK)
        await caller.head()
        caller.die()

    async with scripted(tmp_path / "k", script) as callers, worker_on(tmp_path / "k") as worker:
        for _ in range(3):
            assert (await reply(worker)).body == b"ok"
        assert len(callers) == 3


@pytest.mark.parametrize(
    ("data", "connections"),
    [
        (CLOSE, 2),
        (CLOSE.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 4\r\nHost"), 1),
    ],
)
async def test_a_request_that_kills_keepers_is_not_tried_for_ever(
    tmp_path: Path, data: bytes, connections: int
) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.die()

    async with scripted(tmp_path / "k", script) as callers, worker_on(tmp_path / "k") as worker:
        body = b"body" if b"POST" in data else b""
        assert (await reply(worker, data + body)).status == 503
        assert len(callers) == connections


@pytest.mark.parametrize(
    "begun", [OK[:9], OK[:-4], OK[:-1], OK[:-2], OK.replace(b"2\r", b"999999\r") + bytes(99999)]
)
async def test_an_answer_that_breaks_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, begun: bytes
) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(begun)

    async with scripted(tmp_path / "k", script) as callers, worker_on(tmp_path / "k") as worker:
        answer = await ask(worker)
        assert begun.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n").startswith(answer)
        assert len(callers) == 1
    assert caplog.messages == [
        "answer cut target='/outputs/a.png' reason=the keeper closed the connection"
    ]


async def test_interim_heads_pass(tmp_path: Path) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"

    async def script(caller: Caller) -> None:
        while True:
            await caller.head()
            await caller.send(interim + interim + OK)

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        assert (await ask(worker)).startswith(interim + interim + b"HTTP/1.1 200 OK\r\n")
        assert (await ask(worker, CLOSE.replace(b"1.1", b"1.0"))).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_keeper_that_closes_closes_the_client_too(tmp_path: Path) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        answer = await ask(worker, request_bytes("GET", "/"))
    assert answer == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


# A worker's own requests


@pytest.mark.usefixtures("relayed")
async def test_the_rest_of_an_object(serve: Serve) -> None:
    data = bytes(range(256)) * 2000
    async with serve() as site:
        site.origin.put("outputs/a.mp4", data)
        assert isinstance(site.server, RelayedServerApp)
        relay = site.server.worker.relay
        status, headers, body = await relay.fetch(
            "/outputs/a.mp4", [("Range", f"bytes={SLICE}-")], CLIENT
        )
        async with aclosing(body):
            pieces = [piece async for piece in body]
        assert (status, headers["Content-Length"]) == (206, str(len(data) - SLICE))
        assert b"".join(pieces) == data[SLICE:]
        status, _, body = await relay.fetch("/outputs/a.mp4", [("If-Match", '"other"')], CLIENT)
        assert (status, [piece async for piece in body]) == (412, [])
        await body.aclose()
        assert repr(relay._keepers) == "<Keepers 1 open, 1 idle>"
    assert [entry["client"] for entry in site.access_entries()] == ["1.2.3.4"] * 2


async def test_the_rest_that_is_cut_is_an_error(tmp_path: Path) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(OK[:-1])

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        _, _, body = await worker.relay.fetch("/", [], CLIENT)
        async with aclosing(body):
            with pytest.raises(UpstreamError):
                [piece async for piece in body]


async def test_the_rest_that_nobody_reads_is_dropped(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(OK.replace(b" 2", b" 9"))
        await caller.reader.read()
        left.set()

    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        _, _, body = await worker.relay.fetch("/", [], CLIENT)
        await body.aclose()
        async with asyncio.timeout(PATIENCE):
            await left.wait()


async def test_what_a_worker_tells(tmp_path: Path) -> None:
    told: list[tuple[str, bytes]] = []
    peers: list[Peer] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        peers.append(request[PEER])
        return web.Response()

    with listen_on(tmp_path / "k") as listener:
        async with worker_on(tmp_path / "k", patience=0.01) as worker:
            async with keeper_on(listener, handler, lambda *message: told.append(message)):
                for data in (b"", b"\0\xff" * 2**20):
                    await worker.relay.tell("/uses", data)
                assert told == [("/uses", b""), ("/uses", b"\0\xff" * 2**20)]
                assert repr(worker.relay._keepers) == "<Keepers 1 open, 1 idle>"
                _, _, body = await worker.relay.fetch("/", [], INTERNAL)
                await body.aclose()
                assert peers == [INTERNAL]
            with pytest.raises(Unavailable):
                await worker.relay.tell("/uses", b"")


async def test_what_the_keeper_does_not_understand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str, data: bytes) -> None:
        raise ValueError(path)

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError("not for the handler")

    with listen_on(tmp_path / "k") as listener:
        async with keeper_on(listener, handler, refuse), worker_on(tmp_path / "k") as worker:
            with pytest.raises(UpstreamError):
                await worker.relay.tell("/uses", b"x")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_closed_relay_asks_nobody(tmp_path: Path) -> None:
    """Nor does a request that was under way try again."""
    came = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        came.set()
        await caller.reader.read()

    async with scripted(tmp_path / "k", script) as callers, worker_on(tmp_path / "k") as worker:
        waiting = asyncio.create_task(reply(worker))  # noqa: TID251
        await came.wait()
        await worker.relay.close()
        assert (await waiting).status == 503
        assert len(callers) == 1
