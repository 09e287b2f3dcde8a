"""A request whose very bytes came before is answered without the parser; and nothing else is."""

import json
import random
from contextlib import suppress
from itertools import pairwise

import pytest
from aiohttp import web

from edgecache.web import fast as fast_module
from tests import serving
from tests.pattern import Pattern
from tests.serving import Serve, Site, parse_replies, request_bytes
from tests.waiting import until

serve = serving.serve
site = serving.site

KEY = "outputs/thumb.webp"
BODY = Pattern(900, seed=4)
GET = request_bytes("GET", f"/{KEY}")
OTHER = "outputs/other.webp"
OTHER_BODY = Pattern(800, seed=5)
LAST = request_bytes("GET", f"/{OTHER}", {"Connection": "close"})


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What went through aiohttp's parser."""
    pieces: list[bytes] = []
    parse = web.RequestHandler.data_received

    def spy(self: web.RequestHandler, data: bytes) -> None:
        pieces.append(data)
        parse(self, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", spy)
    return pieces


async def warm(site: Site) -> None:
    site.origin.put(KEY, BODY, etag="one")
    site.origin.put(OTHER, OTHER_BODY, etag="two")
    for key in (KEY, OTHER) * 2:
        await site.get(f"/{key}")
        await site.idle()


async def ask(wire: serving.Wire, data: bytes = GET) -> bytes:
    await wire.send(data)
    return (await wire.reply()).body


async def test_the_parser_sees_a_request_once(site: Site, parsed: list[bytes]) -> None:
    """On whatever connection it comes again; and its answer is counted each time."""
    await warm(site)
    async with site.connect() as wire:
        await ask(wire)  # makes it hot
        await ask(wire)
        parsed.clear()
        counted = await site.metric("http_requests_total", result="hit", code="200")
        parsed.clear()
        for _ in range(3):
            assert await ask(wire) == BODY.read()
    async with site.connect() as wire:
        assert await ask(wire) == BODY.read()
    assert parsed == []
    assert await site.metric("http_requests_total", result="hit", code="200") == counted + 4


async def test_conditions_are_looked_at_each_time(site: Site) -> None:
    await warm(site)
    asked = request_bytes("GET", f"/{KEY}", {"If-None-Match": '"one"'})
    async with site.connect() as wire:
        for etag, status in (("one", 304), ("one", 304), ("new", 200), ("new", 200)):
            if etag == "new":
                site.origin.put(KEY, OTHER_BODY, etag="new")
                site.clock.advance(4000.0)
            await wire.send(asked)
            reply = await wire.reply()
            assert (reply.status, reply.headers["ETag"]) == (status, f'"{etag}"')
            assert reply.body == (OTHER_BODY.read() if status == 200 else b"")


HIDING = [
    pytest.param(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n" % len(GET), id="body"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(GET),
        id="chunk",
    ),
    pytest.param(b"GET / HTTP/1.1\r\nHost: e\r\nX-Part: ", id="field"),
    pytest.param(b"GET /outputs/x HTTP/1.1\r\nHost: e\r\n", id="fields"),
    pytest.param(b"\r\nGET / HTTP/1.1\r\nHost: e\r\nContent-Length: 9999\r\n\r\n", id="long body"),
    pytest.param(b"GE", id="method"),
    pytest.param(b"GET / HTTP/1.1\nHost: e\n\n", id="bare line feeds"),
]


@pytest.mark.parametrize("start", HIDING)
async def test_what_is_no_request_here_is_not_taken_for_one(
    site: Site, start: bytes, parsed: list[bytes]
) -> None:
    """A known request's bytes within another request: smuggling."""
    await warm(site)
    async with site.connect() as wire:
        for _ in range(3):
            await ask(wire)
        parsed.clear()
        await wire.send(start)
        await until(lambda: parsed == [start])  # what follows comes in a piece of its own
        await wire.send_all(GET)
        with suppress(OSError):  # refused already
            wire.writer.write_eof()
        rest = await wire.rest()
    assert BODY.read() not in rest
    assert b"".join(parsed) in (start, start + GET)  # the first: it was refused at once


async def test_after_a_request_with_a_body_nothing_is_known(site: Site) -> None:
    """Its connection closes: what follows can't be trusted."""
    await warm(site)
    async with site.connect() as wire:
        await ask(wire)
        await ask(wire)
        with_body = request_bytes("GET", f"/{KEY}", {"Content-Length": "5"})
        await wire.send(with_body + b"hello")
        reply = await wire.reply()
        assert reply.headers["Connection"] == "close"
        await wire.send_all(GET)
        assert await wire.rest() == b""


@pytest.mark.parametrize("seed", range(20))
async def test_however_it_is_cut_the_answers_are_the_same(
    site: Site, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known and unknown requests in one stream, cut anywhere, pipelined or not."""
    chance = random.Random(seed)
    await warm(site)
    known = [GET, request_bytes("GET", f"/{OTHER}"), request_bytes("GET", f"/{KEY}", {"X": "y"})]
    async with site.connect() as wire:
        for one in known * 2:
            await ask(wire, one)
    stream = b"".join([*(chance.choice(known) for _ in range(12)), LAST])
    cuts = set(chance.sample(range(1, len(stream)), 5)) if seed % 2 else set()
    if seed % 3:  # each request in a piece of its own, unless it is cut
        cuts |= {n for n in range(1, len(stream)) if stream[:n].endswith(b"\r\n\r\n")}
    pieces = [stream[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(stream)])]
    answers = []
    for most in (fast_module.MOST_REPEATS, 0):
        if not most:  # without
            monkeypatch.setattr(fast_module.FastPath, "remember", lambda *_: None)
            site.server._service.fast._repeats.clear()
        async with site.connect() as wire:
            for piece in pieces:
                await wire.send_all(piece)
            answers.append([reply.body for reply in parse_replies(await wire.rest())])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 13


async def test_each_is_logged_with_its_own_client(
    serve: Serve, parsed: list[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Behind a trusted proxy the fields say who it is; a line is made anew for each of them."""
    async with serve(
        listen={"trusted_proxies": ["127.0.0.1"]}, log={"access": "json", "access_file": "-"}
    ) as site:
        await warm(site)
        clients = ["198.51.100.7", "203.0.113.9"]
        asked = [request_bytes("GET", f"/{KEY}", {"X-Forwarded-For": one}) for one in clients]
        async with site.connect() as wire:
            for one in asked * 2:
                await ask(wire, one)
            capfd.readouterr()
            parsed.clear()
            for one in asked * 2:
                await ask(wire, one)
            assert parsed == []
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["client"] for line in lines if line["path"] == f"/{KEY}"][-4:] == clients * 2


async def test_another_config_asks_the_parser_again(site: Site) -> None:
    """What was public may not be so any more."""
    await warm(site)
    async with site.connect() as wire:
        for _ in range(3):
            await ask(wire)
        access = site.server.config.access.model_copy(update={"public": ("elsewhere/",)})
        await site.server.reload(site.server.config.model_copy(update={"access": access}))
        await wire.send(GET)
        assert (await wire.reply()).status == 403


async def test_they_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_module, "MOST_REPEATS", 3)
    await warm(site)
    repeats = site.server._service.fast._repeats
    async with site.connect() as wire:
        for number in range(9):
            asked = request_bytes("GET", f"/{KEY}", {"X": str(number)})
            assert [await ask(wire, asked) for _ in range(3)] == [BODY.read()] * 3
            assert 0 < len(repeats) <= 3
        await ask(wire, request_bytes("GET", f"/{KEY}", {"X": "y" * 2048}))
        assert all(len(data) <= fast_module.LONGEST_REPEAT for data in repeats)
