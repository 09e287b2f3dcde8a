"""Faults of the origin that last, spread or pile up: what they cost, and whom they do not reach."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from edgecache import fill
from edgecache.core.index import OBJECTS
from edgecache.upstream import READ_BUFFER
from tests import serving
from tests.faults import Answer, Error, Extra, Fields, Hold, Redirect, Stall
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, asking, at_rest, download, fetch, put, span, still
from tests.serving import SLICE, Serve, Site
from tests.stack import KEY as STACK_KEY
from tests.stack import Stack
from tests.waiting import until

serve = serving.serve

HALF = SLICE // 2
READ_AT_ONCE = 2 * READ_BUFFER + 2**18  # what aiohttp holds before it stops reading


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(log={"access": "off"}) as site:
        yield site


@dataclass
class Trap:
    """A place where no request should ever come; it counts them."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.read(2**16))
        writer.close()


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    trap = Trap()
    async with await asyncio.start_server(trap, "127.0.0.1", 0) as server:
        trap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield trap


# Whole objects in answer to a Range (U05)


async def read(site: Site) -> float:
    """Bytes from the origin, without those that had come when their answer was dropped."""
    unread = await site.metric("origin_wasted_bytes_total", cause="unread")
    return await site.metric("origin_body_bytes_total") - unread


async def test_a_gibibyte_in_answer_to_a_range_is_not_read_to_its_end(site: Site) -> None:
    site.origin.quirks.ignore_range = True
    data = Pattern(2**30)
    site.origin.put(KEY, data)
    assert await fetch(site, TARGET, f"bytes={5 * SLICE + 3}-{6 * SLICE}") == data.read(
        5 * SLICE + 3, 6 * SLICE + 1
    )
    await at_rest(site)
    assert await read(site) <= 7 * SLICE + READ_AT_ONCE
    assert site.origin.body_bytes < 2**26
    site.origin.reset()
    assert await fetch(site, TARGET, span(0, 7)) == data.read(0, 7 * SLICE)
    assert site.origin.requests == []  # what came before the wanted bytes was kept


async def test_a_head_of_such_an_object_costs_little(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "FIRST_READER_LIMIT", 0.01)
    site.origin.quirks.ignore_range = True
    site.origin.put(KEY, Pattern(2**30))
    assert (await site.head(TARGET)).headers["Content-Length"] == str(2**30)
    await at_rest(site)
    assert await read(site) <= SLICE + READ_AT_ONCE


# Errors that are remembered, and those that are not (U18 to U22)


async def test_an_error_says_nothing_of_the_origin(site: Site) -> None:
    """U19."""
    put(site, 2)
    for status, text in [(500, "the origin failed\n"), (403, "the origin refused the request\n")]:
        fault = site.origin.fault(Error(status, "AccessDenied"), times=None)
        reply = await site.get(TARGET)
        site.origin.faults.remove(fault)
        assert (reply.status, reply.body.decode()) == (502, text)
        assert not any(name.lower().startswith("x-amz") for name in reply.headers)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_origin_does_not_reach_cached_keys(site: Site, status: int) -> None:
    """U20, I3; and clients are told when to come again."""
    data = put(site, 2)
    await fetch(site, TARGET)
    site.origin.put("outputs/other", b"other")
    site.origin.fault(Error(status, "SlowDown", fields={"Retry-After": "7"}), times=None)
    reply = await site.get("/outputs/other")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "7")
    assert await fetch(site, TARGET) == data.read()
    assert (await site.get(TARGET)).cache_status == "edgecache; hit; ttl=3600"


async def test_refusals_now_and_then_are_never_the_keys_answer(site: Site) -> None:
    """U21: every fifth request."""
    data = put(site, 1)
    for number in range(10):
        if number % 5 == 4:
            site.origin.fault(Error(403, "AccessDenied"), key="outputs/k")
        site.origin.put(f"outputs/k{number}", data)
        status = (await site.get(f"/outputs/k{number}")).status
        assert status == (502 if number % 5 == 4 else 200)
        assert await fetch(site, f"/outputs/k{number}") == data.read()


async def test_a_missing_key_is_asked_for_again_after_its_time(site: Site) -> None:
    """U22: negative entries last for `negative_ttl`."""
    for _ in range(5):
        assert (await site.get(TARGET)).status == 404
    assert len(site.origin.requests) == 1
    data = put(site, 1)
    assert (await site.get(TARGET)).status == 404
    site.clock.advance(10)
    assert await fetch(site, TARGET) == data.read()


async def test_missing_keys_are_bounded_in_number() -> None:
    """U22: a hundred thousand of them."""
    stack = Stack()
    catalog = stack.lookup._catalog
    for number in range(OBJECTS + 500):
        catalog.missing(STACK_KEY._replace(key=f"outputs/{number}"), 1e9)
    assert len(catalog._index) == OBJECTS
    await stack.at_rest()


async def test_a_failed_revalidation_is_not_remembered(site: Site) -> None:
    """U18."""
    data = put(site, 2)
    await fetch(site, TARGET)
    site.clock.advance(1e6)
    site.origin.fault(Error(500))
    assert (await site.get(TARGET)).status in (200, 502)
    site.origin.faults.clear()
    assert await fetch(site, TARGET) == data.read()


@pytest.mark.parametrize("status", [416, 412])
async def test_an_origin_that_refuses_every_range_is_asked_a_few_times(
    site: Site, status: int
) -> None:
    put(site, 2)
    site.origin.fault(Error(status), times=None)
    for range_ in ("", "bytes=5-", "bytes=-5", f"bytes={9 * SLICE}-"):
        site.origin.reset()
        reply = await site.get(TARGET, {"Range": range_} if range_ else {})
        assert reply.status == 502
        assert len(site.origin.requests) <= 3


async def test_an_origin_that_always_says_replaced_is_asked_a_few_times(site: Site) -> None:
    put(site, 4)
    await fetch(site, TARGET, span(0))
    for fault in (Error(412), Error(416), Error(404)):
        site.origin.reset()
        site.origin.fault(fault, range=span(2), times=None)
        assert (await site.get(TARGET, {"Range": span(2)})).status in (404, 502, 206)
        assert len(site.origin.requests) < 10
        site.origin.faults.clear()
        site.clock.advance(60)


# Where requests and credentials go (U23)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(site: Site, trap: Trap, status: int) -> None:
    put(site, 2)
    for location in (trap.url, f"{trap.url}/k3x9z7q1ab/{KEY}", f"//{trap.url[7:]}/", "/other"):
        site.origin.fault(Redirect(location, status))
        assert (await site.get(TARGET)).status == 502
    assert trap.requests == []
    assert len(site.origin.requests) == 4


async def test_a_proxy_of_the_environment_gets_no_credentials(
    serve: Serve, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, trap.url)
    async with serve(log={"access": "off"}) as site:
        data = put(site, 2)
        assert await fetch(site, TARGET) == data.read()
    assert trap.requests == []


# Connections that cannot be had, or never answer (U27 to U29, U41)


async def test_a_refused_connection_is_an_error_at_once_and_passes(site: Site) -> None:
    data = put(site, 2)
    await fetch(site, TARGET)
    await site.origin.refuse()
    assert (await site.get("/outputs/other")).status == 502
    assert await fetch(site, TARGET) == data.read()
    await site.origin.listen()
    assert (await site.get("/outputs/other")).status == 404


async def test_a_connection_that_is_not_accepted_is_a_timeout(serve: Serve) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        origin = {
            "endpoint": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "bucket": "b",
            "access_key": "a",
            "secret_key": "s",
        }
        fetching = {"connect_timeout": 0.1}
        async with serve(log={"access": "off"}, origins={"volume": origin}, fetch=fetching) as site:
            assert (await site.get(TARGET)).status == 504
            await at_rest(site)


@pytest.mark.parametrize("count", [10, 50])
async def test_hung_requests_leave_connections_for_others(site: Site, count: int) -> None:
    """U29: with the default pool."""
    data = put(site, 2)
    site.origin.put("outputs/other", data)
    for number in range(count):
        put(site, 2, number, f"outputs/hung/{number}")
    site.origin.fault(Stall(), key="outputs/hung/", times=None)
    async with AsyncExitStack() as clients:
        for number in range(count):
            await clients.enter_async_context(asking(site, f"/outputs/hung/{number}"))
        await site.origin.arrived(count)
        assert await fetch(site, TARGET) == data.read()
        bodies = await asyncio.gather(*(fetch(site, "/outputs/other") for _ in range(10)))
        assert bodies == [data.read()] * 10


async def test_more_hung_requests_than_connections_end_in_time(serve: Serve) -> None:
    async with serve(
        log={"access": "off"}, fetch={"connections": 2, "first_byte_timeout": 1}
    ) as site:
        data = put(site, 2)
        fault = site.origin.fault(Stall(), key="outputs/hung/", times=None)
        hung = [site.get(f"/outputs/hung/{number}") for number in range(6)]
        assert {reply.status for reply in await serving.gather(*hung)} == {504}
        site.origin.faults.remove(fault)
        assert await fetch(site, TARGET) == data.read()
        await at_rest(site)


async def test_an_origin_that_thinks_for_minutes_is_not_stampeded(serve: Serve) -> None:
    """U41: the MD5 of a new file. One request for all who wait, and for all who come again."""
    async with serve(log={"access": "off"}, fetch={"first_byte_timeout": 1}) as site:
        data = put(site, 2)
        site.origin.fault(Stall(), times=2)
        for _ in range(2):
            replies = await serving.gather(*(site.get(TARGET) for _ in range(30)))
            assert {reply.status for reply in replies} == {504}
        assert len(site.origin.requests) == 2
        assert await fetch(site, TARGET) == data.read()


# Bodies (U32, U39, U40)


async def test_a_compressed_object_passes_as_it_is_stored(site: Site) -> None:
    """U32: a bomb stays one, in its box."""
    bomb = gzip.compress(bytes(20_000_000))
    site.origin.put(KEY, bomb, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})
    for _ in range(2):
        reply = await site.get(TARGET)
        assert (reply.body, reply.headers["Content-Encoding"]) == (bomb, "gzip")
    assert site.origin.requests[0].header("accept-encoding") == "identity"


async def test_bytes_behind_an_answer_do_not_become_another_keys(site: Site) -> None:
    """U39: late, on a connection that is kept already; they look like an answer."""
    data = put(site, 1)
    site.origin.put("outputs/other", b"the right bytes")
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 15\r\nContent-Range: bytes 0-14/15\r\n"
    gate = site.origin.hold("no such key")
    hold = Hold(gate, after=data.length)
    site.origin.fault(hold, Extra(head + b'ETag: "w"\r\n\r\nthe wrong bytes'), key=KEY)
    assert await fetch(site, TARGET) == data.read()
    gate.release()
    await still(site)
    assert await fetch(site, "/outputs/other") == b"the right bytes"


async def test_a_head_and_the_get_after_it_may_differ(site: Site) -> None:
    """U40: the object became shorter in between."""
    old = put(site, 4)
    assert (await site.head(TARGET)).headers["Content-Length"] == str(old.length)
    new = put(site, 3, 2)
    assert await fetch(site, TARGET) == new.read()


async def test_a_slow_origin_passes_its_bytes_on_as_they_come(site: Site) -> None:
    data = put(site, 2)
    gates = [site.origin.hold(KEY, after=after) for after in (1, 1000, HALF)]
    async with download(site, TARGET) as got:
        read = 0
        for gate, after in zip(gates, (1, 1000, HALF), strict=True):
            await gate.reached.wait()
            assert await got.read(after - read) == data.read(read, after)
            read = after
            gate.release()
        assert await got.rest() == data.read(read)


async def test_a_hostile_type_and_cookies_do_not_pass(site: Site) -> None:
    def hostile(answer: Answer) -> None:
        answer.fields |= {"Set-Cookie": "a=b", "x-amz-meta-secret": "1", "Server": "x"}

    put(site, 1)
    site.origin.fault(hostile, Fields({"Connection": "X-Hop", "X-Hop": "1"}))
    reply = await site.get(TARGET)
    names = {name.lower() for name in reply.headers}
    assert names.isdisjoint({"set-cookie", "x-amz-meta-secret", "x-hop"})
    assert reply.headers["Server"] == "edgecache"
    await until(lambda: len(site.server.tasks) <= site.resting)
