"""Through the whole of it: what a viewer sees of an origin that fails for a moment, for long, or is
slow for some; and what the origin sees of many viewers."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from edgecache.core import breaker
from edgecache.core.breaker import BreakerState
from edgecache.core.model import ObjectKey
from tests import serving
from tests.faults import Action, Cut, Error, Reset, Stall
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, asking, at_rest, download, fetch, put, span
from tests.serving import SLICE, Serve, Site, gather
from tests.test_origin_faults import RIGHT, ROWS, outcome, stored_right
from tests.waiting import until

serve = serving.serve_exactly
site = serving.site
ONE_PROCESS = pytest.mark.parametrize("serve", ["memory"], indirect=True)
WITH_WORKERS = pytest.mark.parametrize("serve", ["memory", "workers"], indirect=True)

# Of the rows those that are over with the first answer they befall.
PASSING = [
    *("U01 nothing of the body", "U18 500", "U18 502", "U18 503", "U18 524", "U20 429"),
    *("U30 a field of 1 MB", "U31 CR in a field", "U31 NUL in a field"),
    *("U34 garbage", "U34 HTTP/0.9", "U37 Content-Length -1"),
    *("U38 closed before the head", "U38 reset before the head"),
]


OTHER = ObjectKey("volume", KEY)

# One that fails for a moment


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 524])
async def test_twice_an_error_then_an_answer_is_an_answer(site: Site, status: int) -> None:
    data = put(site, 4)
    site.origin.fault(Error(status), times=2)
    assert await fetch(site, TARGET) == data.read()
    assert site.origin.asked(KEY)[:3] == [span(0)] * 3
    assert await site.metric("origin_retries_total") == 2
    retried = await site.metric("origin_body_bytes_total", reason="retry")
    assert SLICE <= retried < SLICE + 1024  # the second error has a body, too


@ONE_PROCESS
@pytest.mark.parametrize("name", [n for n in PASSING if n != "U01 nothing of the body"])
@pytest.mark.parametrize("skip", [0, 1], ids=["first answer", "in the middle"])
async def test_no_viewer_notices_a_fault_before_the_first_byte(
    site: Site, name: str, skip: int
) -> None:
    data = put(site, 5)
    site.origin.fault(*ROWS[name].actions, skip=skip)
    async with asking(site, TARGET) as got:
        assert await outcome(got, data) == RIGHT
    await at_rest(site)
    assert stored_right(site, data)


@ONE_PROCESS
async def test_a_key_that_was_readable_is_asked_for_again_when_it_is_refused(site: Site) -> None:
    """RunPod's 403 now and then. A key that never was gets one."""
    data = put(site, 2)
    assert await fetch(site, TARGET, span(0)) == data.read(0, SLICE)
    site.origin.fault(Error(403, "AccessDenied"), times=2)
    assert await fetch(site, TARGET) == data.read()
    site.origin.reset()
    site.origin.fault(Error(403, "AccessDenied"))
    assert (await site.get("/outputs/other")).status == 502
    assert len(site.origin.requests) == 1


@ONE_PROCESS
async def test_a_refused_connection_that_comes_back_is_not_noticed(serve: Serve) -> None:
    async with serve(fetch={"retry_delay": 0.2}) as site:
        data = put(site, 1)
        await site.origin.refuse()
        async with asking(site, TARGET) as got:
            await until(lambda: site.server.metrics.total("origin_retries_total") == 1)
            await site.origin.listen()
            await got.head()
            assert (got.status, await got.rest()) == (200, data.read())


# One that is dead


@WITH_WORKERS
@pytest.mark.parametrize("action", [Error(500), Reset()], ids=["500", "reset"])
async def test_500_clients_on_one_key_that_fails_are_one_wave(serve: Serve, action: Action) -> None:
    async with serve(log={"access": "off"}) as site:
        put(site, 2)
        gate = site.origin.hold(KEY)
        site.origin.fault(action, times=None)
        clients = [asyncio.ensure_future(site.get(TARGET)) for _ in range(500)]  # noqa: TID251
        await gate.reached.wait()
        await until(lambda: site.server.metrics.in_flight.value == 500)
        await site.looked_up()
        gate.release()
        replies = await gather(*clients)
        assert {reply.status for reply in replies} == {502}
        assert len(site.origin.requests) == 1 + site.server.config.fetch.retries


@WITH_WORKERS
async def test_the_breaker_opens_answers_at_once_tries_once_and_closes(serve: Serve) -> None:
    settings = {"retries": 0, "breaker_failures": 4, "breaker_pause": 1.5}
    async with serve(fetch=settings, log={"access": "off"}) as site:
        data = put(site, 1)
        assert await fetch(site, TARGET) == data.read()
        site.origin.fault(Error(500), key="outputs/bad", times=None)
        for number in range(4):
            assert (await site.get(f"/outputs/bad{number}")).status == 502
        site.origin.reset()
        for reply in await gather(*(site.get(f"/outputs/new{n}") for n in range(20))):
            assert (reply.status, reply.headers["Retry-After"] in ("1", "2")) == (503, True)
            assert reply.cache_status == 'edgecache; detail="breaker-open"'
        assert site.origin.requests == []
        assert await fetch(site, TARGET) == data.read()  # what is here is served
        ready = await site.admin("GET", "/readyz")
        assert (ready.status, ready.body) == (503, b"origin failing: volume\n")
        assert await site.metric("origin_breaker_state", state="open") == 1
        attempts = site.server._service.origins._attempts["volume"]
        await until(lambda: attempts.state is BreakerState.HALF_OPEN)
        assert (await site.admin("GET", "/readyz")).status == 200  # else nobody might be sent here
        gate = site.origin.hold("outputs/new")
        trial = asyncio.ensure_future(site.get("/outputs/new0"))  # noqa: TID251
        await gate.reached.wait()
        assert (await site.admin("GET", "/readyz")).status == 503
        assert (await site.get("/outputs/new1")).status == 503
        gate.release()
        assert (await trial).status == 404
        assert (await site.get("/outputs/new1")).status == 404
        assert await site.metric("origin_breaker_state", state="closed") == 1
        assert (await site.admin("GET", "/readyz")).status == 200


@ONE_PROCESS
async def test_no_head_is_sent_that_an_origin_left_alone_would_have_to_stand_in_for(
    serve: Serve,
) -> None:
    """Also if the last it answered was a success: it was the bodies that broke."""
    settings = {"retries": 0, "breaker_failures": 2}
    async with serve(fetch=settings, log={"access": "off"}) as site:
        data = put(site, 4)
        assert await fetch(site, TARGET, span(0)) == data.read(0, SLICE)
        site.origin.fault(Cut(10), key="outputs/bad", times=None)
        for number in range(2):
            put(site, 1, key=f"outputs/bad{number}")
            async with download(site, f"/outputs/bad{number}") as got:
                await got.cut()
        reply = await site.get(TARGET)
        assert (reply.status, reply.cache_status) == (503, 'edgecache; detail="breaker-open"')
        assert await fetch(site, TARGET, span(0)) == data.read(0, SLICE)


@ONE_PROCESS
async def test_an_object_that_hangs_does_not_keep_a_healthy_origin_left_alone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "LEAST_PATIENCE", 0.1)
    settings = {"retries": 0, "breaker_failures": 1, "breaker_pause": 0.1}
    async with serve(fetch=settings, log={"access": "off"}) as site:
        data = put(site, 1)
        site.origin.fault(Error(500), key="outputs/bad")
        assert (await site.get("/outputs/bad")).status == 502
        attempts = site.server._service.origins._attempts["volume"]
        await until(lambda: attempts.state is BreakerState.HALF_OPEN)
        site.origin.fault(Stall(), key="outputs/hung")
        async with asking(site, "/outputs/hung"):
            await site.origin.arrived(2)
            await until(lambda: not attempts._breaker.refuses(attempts._clock(), OTHER))
            assert await fetch(site, TARGET) == data.read()
            assert attempts.state is BreakerState.CLOSED


@ONE_PROCESS
async def test_each_origin_has_a_breaker_of_its_own(serve: Serve) -> None:
    """And what is broken at one of them says nothing of the other."""
    async with serve(fetch={"retries": 0, "breaker_failures": 1}, log={"access": "off"}) as site:
        put(site, 1)
        await site.origin.refuse()
        assert (await site.get(TARGET)).status == 502
        assert (await site.get(TARGET)).status == 503
        await site.origin.listen()
        await site.server.reload(site.server.config)  # an operator's reload begins anew
        assert (await site.get(TARGET)).status == 200


# One that is slow, or hangs, for some


@WITH_WORKERS
@pytest.mark.parametrize("hung", [10, 50])
async def test_hung_requests_keep_others_from_the_origin_for_a_bounded_time(
    serve: Serve, hung: int
) -> None:
    """With 20 connections: 10 leave some to others; 50 don't, who are told so, and hits go on."""
    settings = {"connections": 20, "queue_timeout": 0.5}
    async with serve(fetch=settings, log={"access": "off"}) as site:
        data = put(site, 1)
        site.origin.put("outputs/hit", data)
        assert await fetch(site, "/outputs/hit") == data.read()
        site.origin.reset()
        site.origin.fault(Stall(), key="outputs/hung/", times=None)
        async with AsyncExitStack() as clients:
            for number in range(hung):
                put(site, 1, number, f"outputs/hung/{number}")
                await clients.enter_async_context(asking(site, f"/outputs/hung/{number}"))
            await site.origin.arrived(min(hung, 20))
            assert await fetch(site, "/outputs/hit") == data.read()
            async with asyncio.timeout(5):
                reply = await site.get(TARGET)
            if hung == 10:
                assert (reply.status, reply.body) == (200, data.read())
            else:
                assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
                assert reply.cache_status == 'edgecache; detail="queue-timeout"'
                assert len(site.origin.requests) == 20
            assert await fetch(site, "/outputs/hit") == data.read()


@ONE_PROCESS
async def test_an_origin_is_never_asked_more_than_it_may_be_at_a_time(serve: Serve) -> None:
    """Whole bodies included, and by its own limit."""
    async with serve(origin={"connections": 3}, log={"access": "off"}) as site:
        data = {number: put(site, 3, number, f"outputs/{number}") for number in range(30)}
        bodies = await asyncio.gather(*(fetch(site, f"/outputs/{number}") for number in data))
        assert bodies == [one.read() for one in data.values()]
        await at_rest(site)
        assert site.origin.max_concurrent <= 3
        assert await site.metric("origin_waiting") == 0


@WITH_WORKERS
async def test_a_late_answer_is_asked_for_twice_and_the_first_is_given_up(serve: Serve) -> None:
    async with serve(fetch={"hedge_share": 1}, log={"access": "off"}) as site:
        data = Pattern(1000)
        for number in range(25):
            site.origin.put(f"outputs/{number}", data)
            assert await fetch(site, f"/outputs/{number}") == data.read()
        site.origin.put(KEY, data)
        site.origin.fault(Stall(), key=KEY)
        assert await fetch(site, TARGET) == data.read()
        await at_rest(site)  # the first one, too
        assert len(site.origin.asked(KEY)) == 2
        assert await site.metric("origin_hedges_total", won="true") >= 1
        assert await site.metric("origin_body_bytes_total", reason="hedge") >= data.length
        assert site.server._service.origins.queue("volume").taken == 0
