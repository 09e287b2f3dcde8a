"""Time and number limits of client connections, with limits short
enough to wait for."""

import asyncio
import logging
import socket
from contextlib import suppress

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import Serve, Site, Wire, parse_replies, request_bytes
from tests.waiting import PATIENCE, until

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.mp4"
KEY = "outputs/a.mp4"
DATA = b"0123456789"
BIG = Pattern(12 * 2**20, seed=5)
SHORT = 0.08
WRITE = 0.25  # long enough for a busy machine to serve who does read
PAUSE = 0.01


async def is_closed_with(wire: Wire, status: int) -> None:
    (reply,) = parse_replies(await wire.rest())
    assert (reply.status, reply.headers["Connection"]) == (status, "close")


async def drip(wire: Wire, data: bytes, size: int) -> bytes:
    """Sends pieces of `size`, with a pause between, until the server answers or hangs up."""
    for start in range(0, len(data), size):
        await wire.send_all(data[start : start + size])
        with suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(PAUSE):
                return await wire.reader.read(100)
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize(
    "data", [b"G", b"\r\n", b"GET /outputs/a.mp4 HTTP/1.1\r\nHost: e\r\nX: a"], ids=repr
)
async def test_a_head_that_stops_gets_408(
    serve: Serve, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(listen={"header_timeout": SHORT}) as site, site.connect() as wire:
        await wire.send(data)
        await is_closed_with(wire, 408)
        assert await site.metric("http_bad_requests_total") == 1
        assert site.origin.requests == []
        assert (await site.get(PATH)).status == 404
    (message,) = [one.getMessage() for one in caplog.records if one.name == "edgecache.http"]
    assert message == "request head not complete in time client=127.0.0.1"


async def test_slowloris(serve: Serve) -> None:
    """A byte now and then does not buy time: the limit is on the whole head."""
    head = request_bytes("GET", PATH) + b"X: a" * 100_000
    async with serve(listen={"header_timeout": SHORT}) as site, site.connect() as wire:
        assert (await drip(wire, head[:-4], 2)).startswith(b"HTTP/1.1 408 ")
        assert await site.metric("http_bad_requests_total") == 1
        assert (await site.get(PATH)).status == 404


async def test_100_kilobytes_of_head_slowly(serve: Serve) -> None:
    head = request_bytes("GET", PATH)[:-2]
    head += b"".join(b"X-%d: %b\r\n" % (n, b"a" * 1000) for n in range(100))
    async with serve(listen={"header_timeout": SHORT}) as site, site.connect() as wire:
        assert (await drip(wire, head, 2000)).startswith(b"HTTP/1.1 408 ")
        assert await site.metric("http_bad_requests_total") == 1
        assert (await site.get(PATH)).status == 404


async def test_the_second_head_on_a_connection_has_a_limit_too(serve: Serve) -> None:
    async with serve(listen={"header_timeout": SHORT}) as site, site.connect() as wire:
        site.origin.put(KEY, DATA)
        await wire.send(request_bytes("GET", PATH))
        assert (await wire.reply()).body == DATA
        await wire.send(b"GET /out")
        await is_closed_with(wire, 408)


async def test_a_slow_handler_is_not_a_slow_head(serve: Serve) -> None:
    async with serve(listen={"header_timeout": SHORT}) as site, site.connect() as wire:
        site.origin.put(KEY, DATA)
        site.origin.quirks.latency = 2 * SHORT
        await wire.send(request_bytes("GET", PATH))
        assert (await wire.reply()).body == DATA
        await wire.send(request_bytes("GET", PATH))
        assert (await wire.reply()).body == DATA


async def test_an_idle_connection_is_closed(serve: Serve) -> None:
    async with serve(listen={"keepalive_timeout": SHORT}) as site:
        async with site.connect() as wire:
            assert await wire.rest() == b""  # one that never asked for anything
        async with site.connect() as wire:
            await wire.send(request_bytes("GET", PATH))
            assert (await wire.reply()).status == 404
            assert await wire.rest() == b""


# Clients that do not read


async def stuck(site: Site, target: str, headers: dict[str, str] | None = None) -> Wire:
    """A client with a small window that has asked and does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    host, port = site.server.url.removeprefix("http://").split(":")
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    wire = Wire(reader, writer)
    await wire.send(request_bytes("GET", target, headers or {}))
    return wire


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_a_client_that_does_not_read_is_cut(
    serve: Serve, warm: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(listen={"write_timeout": WRITE}) as site:
        site.origin.put(KEY, BIG)
        if warm:
            assert (await site.get(PATH)).body == BIG.read()
        wire = await stuck(site, PATH)
        await until(lambda: site.in_flight == 1)
        await until(lambda: site.in_flight == 0)
        assert len(await wire.rest()) < BIG.length  # cut, so it is seen to be incomplete
        wire.close()
        assert (await site.get(PATH, {"Range": "bytes=0-9"})).body == BIG.read(0, 10)
    whole = [entry for entry in site.access_entries() if entry["status"] == 200]
    assert sum(entry["bytes"] < BIG.length for entry in whole) == 1
    assert "reason=the client does not read" in caplog.text


async def test_a_client_that_never_takes_the_last_bytes(serve: Serve) -> None:
    """What the handler has written and the kernel has not taken does not hold a connection."""
    limits = {"write_timeout": WRITE, "keepalive_timeout": SHORT}
    async with serve(listen=limits) as site:
        site.origin.put(KEY, BIG)
        assert (await site.get(PATH)).body == BIG.read()
        wires = [await stuck(site, PATH)]
        await until(lambda: site.in_flight == 1)
        await until(lambda: site.in_flight == 0)
        kernel = int(site.server.metrics.total("client_body_bytes_total")) - BIG.length
        around = range(kernel - 2**18, kernel + 2**18, 2**14)
        wires += [await stuck(site, PATH, {"Range": f"bytes=0-{stop}"}) for stop in around]
        await until(lambda: site.connections == 0)
        for wire in wires:
            wire.close()


async def test_a_client_that_leaves_is_noticed(serve: Serve) -> None:
    async with serve() as site:
        site.origin.put(KEY, BIG)
        wire = await stuck(site, PATH)
        await until(lambda: site.in_flight == 1)
        wire.writer.transport.abort()
        await until(lambda: site.in_flight == 0)
        await site.idle()
        assert site.origin.body_bytes < BIG.length
        assert (await site.get(PATH)).body == BIG.read()


async def test_a_client_that_sends_no_more_but_listens(site: Site) -> None:
    """A half-close: an answer or a clean end, and nothing else is disturbed."""
    site.origin.put(KEY, DATA)
    async with site.connect() as wire:
        await wire.send(request_bytes("GET", PATH))
        wire.writer.write_eof()
        replies = parse_replies(await wire.rest())
        assert [reply.body for reply in replies] in ([], [DATA])
    assert (await site.get(PATH)).body == DATA


# Numbers


async def test_connections_over_the_limit_get_503(serve: Serve) -> None:
    async with serve(listen={"max_connections": 3}) as site:
        site.origin.put(KEY, DATA)
        url = site.server.url  # the limit is each process's
        async with site.connect(url) as one, site.connect(url) as two:
            for wire in (one, two):  # they are counted once they were accepted
                await wire.send(request_bytes("GET", PATH))
                assert (await wire.reply()).status == 200
            async with site.connect(url) as three:
                await three.send(request_bytes("GET", PATH))
                assert (await three.reply()).status == 200
                for _ in range(5):
                    async with site.connect(url) as four:
                        (reply,) = parse_replies(await four.rest())
                        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
                await one.send(request_bytes("GET", PATH))
                assert (await one.reply()).body == DATA  # those who are in are not disturbed
            await until(lambda: site.connections < 3)
            assert (await site.get(PATH)).body == DATA
        assert await site.metric("http_connections_refused_total") == 5


async def test_a_thousand_pipelined_requests(site: Site) -> None:
    site.origin.put(KEY, DATA)
    asked = request_bytes("HEAD", PATH) * 1000 + request_bytes(
        "HEAD", PATH, {"Connection": "close"}
    )
    async with asyncio.timeout(PATIENCE):
        replies = parse_replies(await site.send(asked), "HEAD")
    assert [reply.status for reply in replies] == [200] * 1001


async def test_a_thousand_small_ranges_cost_one_slice(site: Site) -> None:
    """RangeAmp: a byte costs its slice, once."""
    site.origin.put(KEY, BIG)
    asked = b"".join(
        request_bytes("GET", PATH, {"Range": f"bytes={n}-{n}"}) for n in range(0, 50_000, 50)
    )
    data = await site.send(asked + request_bytes("HEAD", PATH, {"Connection": "close"}))
    assert data.count(b"HTTP/1.1 206 ") == 1000
    await site.idle()
    assert site.origin.body_bytes == serving.SLICE
