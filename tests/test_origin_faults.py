"""The origin's faults, row by row (U01 to U41): the client sees right bytes, an honest status or a
cut connection; nothing wrong is stored, nothing is left running, and the next answer is right."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from edgecache.store.memory import MemoryStore
from tests import serving
from tests.faults import (
    Action,
    Answer,
    Bare,
    Before,
    ContentRange,
    Cut,
    Error,
    Extra,
    Fields,
    Framed,
    Framing,
    Multipart,
    Raw,
    Redirect,
    Reset,
    Shift,
    Stall,
)
from tests.pattern import Pattern
from tests.reading import TARGET, Download, asking, at_rest, put
from tests.serving import SLICE, Serve, Site

serve = serving.serve
pytestmark = pytest.mark.parametrize("serve", ["memory"], indirect=True)

# Long beside what a busy machine may hold up an origin that is well.
QUICK = {"connect_timeout": 1, "first_byte_timeout": 1, "stall_timeout": 1}
HALF = SLICE // 2
RIGHT, CUT = "right", "cut"


@pytest.fixture
async def site(serve: Serve, name: str) -> AsyncIterator[Site]:
    """Short of patience only where a row tries it: a busy machine is no fault. What a repetition
    mends is not repeated here, but at the end: see also test_origin_repetitions.py."""
    fetching = {"retries": 0} | (QUICK if ROWS[name].waits else {})
    async with serve(log={"access": "off"}, fetch=fetching) as site:
        yield site


def everything(answer: Answer) -> None:
    """200 to a Range request."""
    if answer.status == 206:
        answer.status, answer.start, answer.stop = 200, 0, answer.body.length
        answer.set("Content-Range", None)


def overlong(answer: Answer) -> None:
    """A body that goes on behind what its Content-Range says."""
    answer.framing, answer.stop = Framing.CLOSE, answer.body.length


def drip(answer: Answer) -> None:
    """A byte now and then."""
    for position in range(1, 5):
        answer.at(position, Pause(0.1))
    answer.at(5, Pause(60))


@dataclass(frozen=True)
class Pause:
    seconds: float

    async def __call__(self, wire: object) -> None:
        await asyncio.sleep(self.seconds)


class Row:
    """What befalls one answer, and what a client sees: a status if it is the first answer, the
    opening; if it is a later one, when the head is sent, the body is right or cut."""

    def __init__(
        self, *actions: Action, opening: str | int, later: str = CUT, waits: bool = False
    ) -> None:
        self.actions = actions
        self.opening = opening
        self.later = later
        self.waits = waits


ROWS = {
    "U01 half the Content-Length": Row(Cut(HALF), opening=CUT),
    "U01 nothing of the body": Row(Cut(0), opening=502),
    "U01 half, and a reset": Row(Reset(HALF), opening=CUT),
    "U02 half, no length": Row(Framed(Framing.CLOSE), Cut(HALF), opening=CUT),
    "U03 half, chunked": Row(Framed(Framing.CHUNKED), Cut(HALF), opening=CUT),
    "U04 more than the Content-Length": Row(Extra(b"x" * 50), opening="right or 502", later=""),
    "U04 more than the Content-Range": Row(overlong, opening=RIGHT, later=RIGHT),
    "U05 everything": Row(everything, opening=RIGHT, later=RIGHT),
    "U06 shifted": Row(Shift(1), opening=502),
    "U06 shorter": Row(Shift(0, -1), opening=502),
    "U06 longer": Row(Shift(0, 1), opening=502),
    "U06 from the start": Row(Shift(-(10**9)), opening=RIGHT),
    "U07 no Content-Range": Row(ContentRange(None), opening=502),
    "U08 larger total": Row(ContentRange("bytes {first}-{last}/999999"), opening=CUT),
    "U08 absurd total": Row(ContentRange("bytes {first}-{last}/9" + "0" * 16), opening=502),
    "U08 smaller total": Row(ContentRange("bytes {first}-{last}/9"), opening=502),
    "U09 unknown total": Row(ContentRange("bytes {first}-{last}/*"), opening=502),
    "U10 multipart": Row(Multipart(), opening=502),
    "U11 letters": Row(ContentRange("bytes a-b/c"), opening=502),
    "U11 40 digits": Row(ContentRange("bytes 0-" + "9" * 40 + "/" + "9" * 41), opening=502),
    "U11 negative": Row(ContentRange("bytes -5-{last}/{total}"), opening=502),
    "U11 another unit": Row(ContentRange("lines {first}-{last}/{total}"), opening=502),
    "U14 416 in the middle": Row(Error(416, "InvalidRange"), opening=RIGHT),
    "U15 404 in the middle": Row(Error(404, "NoSuchKey"), opening=404),
    "U16 another ETag, once": Row(Fields({"ETag": '"x"'}), opening=CUT),
    "U17 a broken ETag": Row(Fields({"ETag": '"a\r\nb"'}), opening=502),
    "U18 500": Row(Error(500), opening=502),
    "U18 502": Row(Error(502), opening=502),
    "U18 503": Row(Error(503), opening=503),
    "U18 524": Row(Error(524), opening=504),
    "U20 429": Row(Error(429, "SlowDown"), opening=503),
    "U21 403": Row(Error(403, "AccessDenied"), opening=502),
    "U21 clock skew": Row(Error(403, "RequestTimeTooSkewed"), opening=502),
    "U21 401": Row(Error(401, ""), opening=502),
    "U23 redirect": Row(Redirect("http://169.254.169.254/latest/"), opening=502),
    "U23 redirect to itself": Row(Redirect("?again", 301), opening=502),
    "U24 no head": Row(Stall(), opening=504, waits=True),
    "U25 stops in the body": Row(Stall(100), opening=CUT, waits=True),
    "U25 stops before the body": Row(Stall(0), opening=504, waits=True),
    "U26 drips": Row(drip, opening=CUT, waits=True),
    "U30 a field of 1 MB": Row(Fields({"X-Big": "a" * 10**6}), opening=502),
    "U30 500 fields": Row(Fields({f"X-{i}": "a" * 2000 for i in range(500)}), opening=502),
    "U31 CR in a field": Row(Fields({"X-A": "a\rb"}), opening=502),
    "U31 NUL in a field": Row(Fields({"X-A": "a\0b"}), opening=502),
    "U31 a cookie": Row(Fields({"Set-Cookie": "a=b"}), opening=RIGHT, later=RIGHT),
    "U33 1000 times 100": Row(
        Before(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), opening=RIGHT, later=RIGHT
    ),
    "U34 garbage": Row(Raw(b"\0\1garbage\r\n\r\n"), opening=502),
    "U34 HTTP/0.9": Row(Raw(b"all the bytes"), opening=502),
    "U35 304 unasked": Row(Bare(304), opening=502),
    "U36 204": Row(Bare(204), opening=502),
    "U37 Content-Length -1": Row(Fields({"Content-Length": "-1"}), opening=502),
    "U37 Content-Length too long": Row(Fields({"Content-Length": "65537"}), opening=502),
    "U37 Content-Length too short": Row(Fields({"Content-Length": "9"}), opening=502),
    # Where the connection was kept, it may have been closed before.
    "U38 closed before the head": Row(Cut(), opening=502, later=RIGHT),
    "U38 reset before the head": Row(Reset(), opening=502, later=RIGHT),
}


async def outcome(got: Download, data: Pattern) -> str | int:
    """What a client sees of a whole read; wrong bytes fail the test."""
    await got.head()
    if got.status != 200:
        body = await got.rest()
        assert b"<" not in body, "the origin's words"
        return got.status
    try:
        body = await got.rest()
    except (asyncio.IncompleteReadError, ConnectionResetError) as error:
        begin = getattr(error, "partial", b"")
        assert begin == data.read(0, len(begin))
        return CUT
    assert body == data.read()
    return RIGHT


def stored_right(site: Site, data: Pattern) -> bool:
    store = site.server.store
    assert isinstance(store, MemoryStore)
    return all(
        kept == data.read(key.number * SLICE, (key.number + 1) * SLICE)
        for key, kept in store._data.items()
    )


async def run(site: Site, data: Pattern) -> str | int:
    async with asking(site, TARGET) as got:
        seen = await outcome(got, data)
    await at_rest(site)
    assert stored_right(site, data)
    return seen


@pytest.mark.parametrize("name", ROWS)
async def test_a_fault_of_the_first_answer(site: Site, name: str) -> None:
    row = ROWS[name]
    data = put(site, 5)
    site.origin.fault(*row.actions)
    assert str(await run(site, data)) in str(row.opening)
    site.origin.faults.clear()
    if await run(site, data) == 404:  # remembered for a while, and not longer
        site.clock.advance(60)
    assert await run(site, data) == RIGHT


@pytest.mark.parametrize("name", ROWS)
async def test_a_fault_in_the_middle_of_a_body(site: Site, name: str) -> None:
    row = ROWS[name]
    data = put(site, 5)
    site.origin.fault(*row.actions, skip=1)
    assert await run(site, data) in ((row.later,) if row.later else (RIGHT, CUT))
    site.origin.faults.clear()
    assert await run(site, data) == RIGHT


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.later == CUT])
async def test_a_fault_before_the_head_of_an_object_that_is_known(site: Site, name: str) -> None:
    """A range that is not there yet of a fresh stored response: an error, or another start."""
    row = ROWS[name]
    data = put(site, 5)
    assert (await site.get(TARGET, {"Range": "bytes=0-0"})).status == 206
    site.origin.fault(*row.actions)
    async with asking(site, TARGET, {"Range": f"bytes={2 * SLICE}-{3 * SLICE - 1}"}) as got:
        await got.head()
        if got.status == 206:
            try:
                assert await got.rest() == data.read(2 * SLICE, 3 * SLICE)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                assert row.opening == CUT
        else:
            assert got.status in (502, 503, 504, row.opening)
    site.origin.faults.clear()
    site.clock.advance(60)
    await at_rest(site)
    assert stored_right(site, data)
    assert await run(site, data) == RIGHT


# With repetitions

BROKEN = [name for name in ROWS if name.startswith(("U01", "U02", "U03", "U25", "U26"))]


@pytest.mark.parametrize("answer", ["the first answer", "a later one"])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_body_that_breaks_is_gone_on_with(serve: Serve, name: str, answer: str) -> None:
    row = ROWS[name]
    async with serve(log={"access": "off"}, fetch=QUICK if row.waits else {}) as site:
        data = put(site, 5)
        site.origin.fault(*row.actions, skip=0 if answer == "the first answer" else 1)
        assert await run(site, data) == RIGHT
        assert await site.metric("origin_resumes_total") == 1
