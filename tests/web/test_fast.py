"""Hits right after the parser are the same answers, byte for byte, as the ordinary path gives."""

import asyncio
import re
from collections.abc import Mapping
from functools import partial

import pytest
from aiohttp.http_parser import RawRequestMessage

from edgecache.core.model import SliceKey
from edgecache.hits import Hits
from edgecache.web.fast import Asked, FastPath
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.waiting import until

serve = serving.serve
site = serving.site

KEY = "outputs/clip.mp4"
BODY = Pattern(3 * SLICE + 1000, seed=7)
ETAG = '"fast"'


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the fast path said of each request that it was asked about."""
    said: list[bool] = []
    understand, answer = FastPath.understand, FastPath.answer

    def spy_understand(self: FastPath, message: RawRequestMessage) -> Asked | None:
        if (asked := understand(self, message)) is None:
            said.append(False)
        return asked

    def spy_answer(self: FastPath, *args: object) -> int | None:
        waiting = answer(self, *args)  # type: ignore[arg-type]
        said.append(waiting is not None)
        return waiting

    monkeypatch.setattr(FastPath, "understand", spy_understand)
    monkeypatch.setattr(FastPath, "answer", spy_answer)
    return said


async def warm(site: Site, body: Pattern = BODY, headers: Mapping[str, str] | None = None) -> None:
    site.origin.put(KEY, body, etag="fast", headers=headers or {})
    for _ in range(2):  # the second one opens what the first one stored
        await site.get(f"/{KEY}")
        await site.idle()
    site.origin.reset()


async def raw(site: Site, headers: Mapping[str, str]) -> bytes:
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}", headers))
        return shown(await wire.reply())


def shown(reply: serving.Reply) -> bytes:
    head = "\r\n".join(f"{name}: {value}" for name, value in reply.headers.items())
    return f"{reply.status}\r\n{head}\r\n\r\n".encode("utf-8", "surrogateescape") + reply.body


def unmarked(answer: bytes) -> bytes:
    """Without the boundary of its parts, which is another one each time."""
    return re.sub(rb"[0-9a-f]{32}", b"boundary", answer)


ASKED = [
    pytest.param({"Range": "bytes=0-"}, False, id="to the end, more than two slices"),
    pytest.param({"Range": "bytes=0-1"}, True, id="Safari's probe"),
    pytest.param({"Range": f"bytes={SLICE - 5}-{SLICE + 5}"}, True, id="over a slice's end"),
    pytest.param({"Range": f"bytes={SLICE // 2}-{2 * SLICE + 9}"}, False, id="three slices"),
    pytest.param({"Range": "bytes=-7"}, True, id="suffix"),
    pytest.param({"Range": "bytes=0-1,5-6"}, False, id="two ranges"),
    pytest.param({"Range": "bytes=999999999-"}, False, id="416"),
    pytest.param({"Range": "lines=1-2"}, False, id="another unit: all"),
    pytest.param({"Range": "bytes=0-9", "If-Range": ETAG}, True, id="If-Range holds"),
    pytest.param({"Range": "bytes=0-9", "If-Range": '"old"'}, False, id="If-Range fails: all"),
    pytest.param({"If-None-Match": ETAG}, True, id="304"),
    pytest.param({"If-None-Match": f'W/{ETAG}, "x"'}, True, id="304, weak in a list"),
    pytest.param({"If-Match": '"old"'}, False, id="412"),
    pytest.param({"Range": "bytes=3-3", "Origin": "https://app.example.com"}, True, id="CORS"),
]


@pytest.mark.parametrize(("headers", "fast"), ASKED)
@pytest.mark.parametrize("origins", [["*"], ["https://app.example.com"]], ids=["any", "listed"])
async def test_both_paths_give_the_same_answer(
    serve: Serve,
    answered: list[bool],
    headers: dict[str, str],
    fast: bool,
    origins: list[str],
) -> None:
    async with serve(cors={"allow_origins": origins}) as site:
        await warm(site, headers={"Content-Disposition": "inline", "Content-Language": "de"})
        answered.clear()
        first = await raw(site, headers)
        assert answered == [fast]
        second = await raw(site, {**headers, "Connection": "close"})
        assert answered == [fast, False]
        assert unmarked(first) == unmarked(second.replace(b"Connection: close\r\n", b""))
        assert site.origin.requests == []


SMALL = Pattern(900, seed=8)
ASKED_OF_SMALL = [
    pytest.param({}, 200, id="whole"),
    pytest.param({"If-None-Match": ETAG}, 304, id="304"),
    pytest.param({"If-None-Match": '"old"'}, 200, id="changed: whole"),
    pytest.param({"If-None-Match": ETAG, "If-Match": '"old"'}, 412, id="412 before 304"),
    pytest.param({"If-None-Match": ETAG, "Range": "bytes=0-1"}, 304, id="304 before a part"),
    pytest.param({"If-None-Match": ETAG, "If-Modified-Since": "x"}, 304, id="304 by ETag"),
    pytest.param({"If-Match": ETAG}, 200, id="If-Match holds"),
    pytest.param({"If-Range": ETAG}, 200, id="If-Range without Range"),
    pytest.param({"Origin": "https://app.example.com"}, 200, id="CORS"),
    pytest.param({"Origin": "https://other.example.com"}, 200, id="CORS, not listed"),
    pytest.param({"Range": "bytes=5-9"}, 206, id="a part"),
    pytest.param({"Range": "bytes=5-9", "If-Range": '"old"'}, 200, id="If-Range fails"),
    pytest.param({"Range": "lines=5-9"}, 200, id="another unit"),
    pytest.param({"If-Match": '"old"'}, 412, id="412"),
    pytest.param({"Range": "bytes=999-"}, 416, id="416"),
]


@pytest.mark.parametrize(("headers", "status"), ASKED_OF_SMALL)
@pytest.mark.parametrize("origins", [["*"], ["https://app.example.com"]], ids=["any", "listed"])
@pytest.mark.parametrize("body", [SMALL, Pattern(0)], ids=["small", "empty"])
async def test_hot_answers_are_those_of_the_ordinary_path(
    serve: Serve, headers: dict[str, str], status: int, origins: list[str], body: Pattern
) -> None:
    async with serve(cors={"allow_origins": origins}) as site:
        await warm(site, body, {"Content-Disposition": "inline", "X-Odd": "caf\xe9"})
        site.clock.advance(3.75)
        async with site.connect() as wire:  # what is hot is so from the first hit on
            hot = b""
            for asked in ({}, {"If-None-Match": ETAG}, headers, headers):
                await wire.send(serving.request_bytes("GET", f"/{KEY}", asked))
                hot = shown(await wire.reply())
        ordinary = await raw(site, {**headers, "Connection": "close"})
        assert hot == ordinary.replace(b"Connection: close\r\n", b"")
        assert site.origin.requests == []


async def test_a_new_version_ends_what_is_hot(site: Site) -> None:
    await warm(site, SMALL)
    newer = Pattern(700, seed=9)
    async with site.connect() as wire:
        for _ in range(3):
            await wire.send(serving.request_bytes("GET", f"/{KEY}"))
            assert (await wire.reply()).body == SMALL.read(0, SMALL.length)
        site.origin.put(KEY, newer, etag="newer")
        site.clock.advance(3600.0)
        for _ in range(3):
            await wire.send(serving.request_bytes("GET", f"/{KEY}"))
            assert (await wire.reply()).body == newer.read(0, newer.length)


async def test_hot_objects_count_as_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecache.web.app.TELL_EVERY", 0.001)
    async with serve() as site:
        await warm(site, SMALL)
        used: list[tuple[SliceKey, int]] = []
        told = asyncio.Event()

        def note(key: SliceKey, count: int) -> None:
            used.append((key, count))
            told.set()

        monkeypatch.setattr(site.server.store, "used", note)
        async with site.connect() as wire:
            for _ in range(5):
                await wire.send(serving.request_bytes("GET", f"/{KEY}"))
                assert len((await wire.reply()).body) == SMALL.length
        await asyncio.wait_for(told.wait(), 5)
    assert {key.number for key, _ in used} == {0}


async def test_both_paths_are_logged_and_counted_alike(serve: Serve, answered: list[bool]) -> None:
    async with serve() as site:
        await warm(site)
        answered.clear()
        hits, given = {}, {}
        for close in (False, True):
            headers = {"Range": "bytes=0-99", "User-Agent": "x"} | (
                {"Connection": "close"} if close else {}
            )
            before = await site.metric("client_body_bytes_total", source="cache")
            counted = await site.metric("http_requests_total", result="hit", code="206")
            await raw(site, headers)
            await site.idle()
            given[close] = await site.metric("client_body_bytes_total", source="cache") - before
            after = await site.metric("http_requests_total", result="hit", code="206")
            hits[close] = after - counted
        assert answered == [True, False]
        assert given == {False: 100, True: 100}
        assert hits == {False: 1, True: 1}
    times = {"time", "duration", "ttfb"}
    fast, ordinary = (
        {name: value for name, value in entry.items() if name not in times}
        for entry in site.access_entries()[-2:]
    )
    assert fast == ordinary


async def test_a_connection_is_kept_and_serves_both_paths_in_turn(
    site: Site, answered: list[bool]
) -> None:
    await warm(site)
    answered.clear()
    async with site.connect() as wire:
        for headers, length in (
            ({"Range": "bytes=0-9"}, 10),
            ({}, BODY.length),
            ({"Range": "bytes=0-19"}, 20),
        ):
            await wire.send(serving.request_bytes("GET", f"/{KEY}", headers))
            assert len((await wire.reply()).body) == length
    assert answered == [True, False, True]


async def test_pipelined_requests_are_answered_in_their_order(
    site: Site, answered: list[bool]
) -> None:
    await warm(site)
    async with site.connect() as wire:
        asked = [{"Range": "bytes=0-0"}, {}, {"Range": "bytes=0-2"}, {"Range": "bytes=0-3"}]
        await wire.send(
            b"".join(serving.request_bytes("GET", f"/{KEY}", headers) for headers in asked)
        )
        lengths = [len((await wire.reply()).body) for _ in asked]
    assert lengths == [1, BODY.length, 3, 4]


async def test_age_advances_and_staleness_ends_it(site: Site, answered: list[bool]) -> None:
    await warm(site, headers={"Cache-Control": "max-age=100"})
    site.clock.advance(60)
    assert (await site.get(f"/{KEY}", {"Range": "bytes=0-0"})).headers["Age"] == "60"
    site.clock.advance(60)
    answered.clear()
    reply = await site.get(f"/{KEY}", {"Range": "bytes=0-0"})
    assert (answered, reply.headers["Age"]) == ([False], "0")
    assert "fwd=stale" in reply.cache_status


async def test_a_client_that_stops_reading_its_hits_is_cut(serve: Serve) -> None:
    """A long pipeline of hits that nobody takes ends with the connection, within the limit."""
    async with serve(listen={"write_timeout": 0.1}) as site:
        await warm(site)
        async with site.connect() as wire:
            request = serving.request_bytes("GET", f"/{KEY}", {"Range": f"bytes=0-{SLICE - 1}"})
            with pytest.raises((ConnectionError, TimeoutError)):
                await asyncio.wait_for(ask_for_ever(wire, request), 20)


@pytest.mark.parametrize("serve", ["disk"], indirect=True)
async def test_what_waits_for_a_client_is_not_written_over_by_the_next_answer(
    serve: Serve, answered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []
    leave = Hits.leave

    def spy(self: Hits) -> None:
        left.append(True)
        leave(self)

    monkeypatch.setattr(Hits, "leave", spy)
    first, second = range(2 * SLICE), range(SLICE, 3 * SLICE)
    async with serve() as site:
        await warm(site)
        answered.clear()
        async with site.connect() as slow, site.connect() as quick:
            for count in range(1, 1000):
                await slow.send(asking_for(first))
                await until(partial(has, answered, count))
                if left:
                    break
            await quick.send(asking_for(second))
            assert (await quick.reply()).body == BODY.read(second.start, second.stop)
            for _ in range(count):
                assert (await slow.reply()).body == BODY.read(first.start, first.stop)
    assert answered == [True] * (count + 1)


def has(answered: list[bool], count: int) -> bool:
    return len(answered) == count


def asking_for(span: range) -> bytes:
    range_ = f"bytes={span.start}-{span.stop - 1}"
    return serving.request_bytes("GET", f"/{KEY}", {"Range": range_})


async def ask_for_ever(wire: serving.Wire, request: bytes) -> None:
    while True:
        await wire.send(request)
        await asyncio.sleep(0)
