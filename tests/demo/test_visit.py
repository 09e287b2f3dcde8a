"""Every answer is checked: against a server that can be told to lie."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from edgecache.demo.script import Ask, Step
from edgecache.demo.visit import Visit, WrongAnswer, first_difference

DATA = bytes(range(256)) * 40
OBJECTS = {"outputs/a.bin": DATA}
KEY = "outputs/a.bin"


@dataclass
class Liar:
    """Answers from OBJECTS; each field makes it wrong in one way."""

    status: int = 0
    flip: int = -1
    short: int = 0
    content_range: str = ""
    hits: int = 0
    asked: list[str] = field(default_factory=list)
    advanced: int = 0
    late: int = 0  # readings of the figures before the last bytes are counted

    async def stats(self, request: web.Request) -> web.Response:
        self.late -= 1
        counted = {"client": 100 * len(self.asked), "origin": 10 if self.late < 0 else 0}
        return web.json_response(
            {
                "requests": {"hit": len(self.asked)},
                "bytes": counted | {"saved": 0},
                "dollars": {"avoided": 0},
                "hit_ratio": None,
            }
        )

    async def get(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Range", ""))
        fields = {"ETag": '"v1"', "Cache-Status": "edgecache; fwd=uri-miss"}
        if len(self.asked) > 1:
            fields["Cache-Status"] = "edgecache; hit; ttl=3600"
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=self.status or 304, headers=fields)
        body, status = bytearray(DATA), 200
        if "Range" in request.headers:
            wanted = request.http_range
            body, status = body[wanted], 206
            first = wanted.start or 0
            actual = f"bytes {first}-{first + len(body) - 1}/{len(DATA)}"
            fields["Content-Range"] = self.content_range or actual
        if self.flip >= 0:
            body[self.flip] ^= 1
        if self.short:
            del body[-self.short :]
        return web.Response(status=self.status or status, headers=fields, body=bytes(body))


@pytest.fixture
def liar() -> Liar:
    return Liar()


@pytest.fixture
async def visit(liar: Liar) -> AsyncIterator[Visit]:
    application = web.Application()
    application.add_routes([web.get("/api/stats", liar.stats), web.get("/outputs/a.bin", liar.get)])

    def advance() -> None:
        liar.advanced += 1

    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("")).rstrip("/")
        yield Visit(session, OBJECTS, url=url, admin_url=url, advance=advance)


WHOLE = Ask(key=KEY)
PART = Ask(key=KEY, first=1000, last=1999)
OPEN = Ask(key=KEY, first=5000)


async def test_right_answers(visit: Visit, liar: Liar) -> None:
    asks = (WHOLE, PART, OPEN, Ask(key=KEY, revalidate=True), Ask(key=KEY, first=0, leave_after=9))
    result = await visit.run(Step(title="t", asks=asks))
    assert (result.title, result.requests) == ("t", 5)
    assert liar.asked == ["", "bytes=1000-1999", "bytes=5000-", "", "bytes=0-"]
    assert liar.advanced == 5


async def test_cold_and_warm_are_what_cache_status_says(visit: Visit) -> None:
    result = await visit.run(Step(title="t", asks=(WHOLE, WHOLE, WHOLE)))
    assert (len(result.cold), len(result.warm)) == (1, 2)
    assert all(seconds > 0 for seconds in result.cold + result.warm)


async def test_bytes_are_the_servers_figures(visit: Visit, liar: Liar) -> None:
    result = await visit.run(Step(title="t", asks=(WHOLE, PART), together=True))
    assert (result.client_bytes, result.origin_bytes) == (200, 0)


async def test_figures_are_read_until_they_stand_still(visit: Visit, liar: Liar) -> None:
    liar.late = 2  # one reading before, one after, then what a late fill cost
    result = await visit.run(Step(title="t", asks=(WHOLE,)))
    assert result.origin_bytes == 10


@pytest.mark.parametrize(
    ("lie", "ask", "words"),
    [
        ({"flip": 7}, WHOLE, "byte 7 of the answer is 0x06, in the bucket it is 0x07"),
        ({"flip": 0}, PART, "bytes=1000-1999: byte 0 of the answer"),
        ({"short": 1}, WHOLE, "10239 bytes came, 10240 are in the bucket"),
        ({"status": 200}, PART, "answered 200, not 206"),
        ({"status": 404}, WHOLE, "answered 404, not 200"),
        ({"content_range": "bytes 1000-1999/9"}, PART, "Content-Range is not 'bytes 1000-1999/"),
        ({"flip": 3}, Ask(key=KEY, first=0, leave_after=9), "byte 3 of the answer"),
    ],
)
async def test_a_wrong_answer_is_told(
    lie: dict[str, int], ask: Ask, words: str, visit: Visit, liar: Liar
) -> None:
    for name, value in lie.items():
        setattr(liar, name, value)
    with pytest.raises(WrongAnswer) as caught:
        await visit.run(Step(title="t", asks=(ask,)))
    assert words in str(caught.value)


async def test_a_200_to_a_condition_is_told(visit: Visit, liar: Liar) -> None:
    await visit.run(Step(title="t", asks=(WHOLE,)))
    liar.status = 200
    with pytest.raises(WrongAnswer, match="answered 200, not 304"):
        await visit.run(Step(title="t", asks=(Ask(key=KEY, revalidate=True),)))


async def test_a_server_that_is_not_there_is_told() -> None:
    async with aiohttp.ClientSession() as session:
        gone = Visit(session, OBJECTS, url="http://127.0.0.1:1", admin_url="", advance=lambda: None)
        with pytest.raises(WrongAnswer, match="broke off"):
            await gone.ask(WHOLE)


def test_first_difference() -> None:
    assert first_difference(b"ab", b"abc") == "2 bytes came, 3 are in the bucket"
