"""The keeper's socket: who is believed there, and what has no limit."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest
from aiohttp import web

from edgecache.config import Costs
from edgecache.config_listen import Listen
from edgecache.metrics import Metrics
from edgecache.web.peer import GREETING, PEER, Peer
from edgecache.web.relayed import RelayedServer
from tests import serving
from tests.relaying import keeper_on, listen_on
from tests.serving import Serve, Wire, parse_replies, request_bytes

serve = serving.serve


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket]:
    with listen_on(tmp_path / "k") as listener:
        yield listener


async def say_peer(request: web.BaseRequest) -> web.StreamResponse:
    peer = request[PEER]
    return web.json_response([peer.client, peer.scheme, peer.request_id])


async def connect(path: Path) -> Wire:
    wire = Wire(*await asyncio.open_unix_connection(path))
    assert await wire.reader.readexactly(len(GREETING)) == GREETING
    return wire


@pytest.mark.parametrize(
    ("fields", "peer"),
    [
        ([("Edgecache-Relay", "1.2.3.4 https id%20")], ["1.2.3.4", "https", "id "]),
        ([("Edgecache-Relay", "::1 http -"), ("X-Request-Id", "other")], ["::1", "http", ""]),
        ([("Edgecache-Relay", "a http -"), ("edgecache-relay", "b http -")], ["a", "http", ""]),
        ([], ["-", "-", ""]),
        ([("Edgecache-Relay", "nonsense")], ["-", "-", ""]),
    ],
)
async def test_the_workers_field_says_who_asks(
    listener: socket, tmp_path: Path, fields: list[tuple[str, str]], peer: list[str]
) -> None:
    async with keeper_on(listener, say_peer):
        wire = await connect(tmp_path / "k")
        await wire.send(request_bytes("GET", "/", fields))
        reply = await wire.reply()
        wire.close()
    assert json.loads(reply.body) == list(Peer(*peer))


@pytest.mark.parametrize("name", ["Edgecache-Relay", "edgecache-relay", "EDGECACHE-RELAY"])
async def test_nobody_is_believed_on_the_public_port(serve: Serve, name: str) -> None:
    async with serve() as site:
        site.origin.put("outputs/a.png", b"data")
        for _ in range(2):  # the second is a hit on the fast path
            await site.get("/outputs/a.png", [(name, "6.6.6.6 internal evil")])
            await site.idle()
        await site.request("POST", "/uses", [(name, "- internal -"), ("Content-Length", "0")])
    entries = site.access_entries()
    assert {entry["client"] for entry in entries} == {"127.0.0.1"}
    assert {entry["request_id"] for entry in entries} == {""}
    assert [entry["status"] for entry in entries] == [200, 200, 405]


async def test_messages_name_the_true_client(
    listener: socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("a bug")

    async with keeper_on(listener, handler):
        wire = await connect(tmp_path / "k")
        await wire.send(request_bytes("GET", "/", [("Edgecache-Relay", "1.2.3.4 http -")]))
        assert (await wire.reply()).status == 500
        wire.close()
    assert caplog.messages == ["request failed client=1.2.3.4 error=RuntimeError('a bug')"]


async def test_as_many_fields_as_the_public_port_takes_and_the_workers_own(
    listener: socket, tmp_path: Path
) -> None:
    fields = [("Edgecache-Relay", "a http -"), ("Transfer-Encoding", "chunked"), ("Host", "e")]
    async with keeper_on(listener, say_peer):
        wire = await connect(tmp_path / "k")
        await wire.send(request_bytes("GET", "/", fields + [("X", "y")] * 127) + b"0\r\n\r\n")
        assert (await wire.reply()).status == 200
        wire.close()


@pytest.mark.parametrize(
    ("method", "field", "is_told"),
    [
        ("POST", "- internal -", True),
        ("POST", "1.2.3.4 internal -", False),
        ("POST", "- http -", False),
        ("GET", "- internal -", False),
    ],
)
async def test_only_a_worker_itself_tells(
    listener: socket, tmp_path: Path, method: str, field: str, is_told: bool
) -> None:
    told: list[tuple[str, bytes]] = []
    data = bytes(3 * 2**20)
    async with keeper_on(listener, say_peer, lambda path, data: told.append((path, data))):
        wire = await connect(tmp_path / "k")
        fields = [("Edgecache-Relay", field), ("Content-Length", str(len(data)))]
        await wire.send_all(request_bytes(method, "/uses", fields) + data)
        reply = await wire.reply()
        assert reply.status == (204 if is_told else 200)
        if is_told:  # and the connection is good for more
            await wire.send(request_bytes("GET", "/", [("Edgecache-Relay", "a http -")]))
            assert (await wire.reply()).status == 200
        wire.close()
    assert told == ([("/uses", data)] if is_told else [])


async def test_what_ends_public_connections_does_not_end_a_workers() -> None:
    metrics = Metrics(Costs())
    limits = Listen(header_timeout=0.01, keepalive_timeout=0.01, max_connections=1)

    server = RelayedServer(limits, metrics, lambda *_: None)
    connections = [server() for _ in range(3)]
    assert {type(one).__name__ for one in connections} == {"RelayedConnection"}
    assert all(one.keepalive_timeout > 86400 for one in connections)
    assert metrics.total("http_connections") == 0


async def test_a_keeper_greets_who_came_while_there_was_none(
    listener: socket, tmp_path: Path
) -> None:
    """Twice: the socket outlives each of them."""
    for _ in range(2):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "k")
        async with keeper_on(listener, say_peer):
            wire = Wire(reader, writer)
            assert await wire.reader.readexactly(len(GREETING)) == GREETING
            await wire.send(request_bytes("GET", "/", [("Connection", "close")]))
            assert [one.status for one in parse_replies(await wire.rest())] == [200]
        writer.close()
