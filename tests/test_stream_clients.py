"""Clients that leave and clients that are slow: what they cost, and that they cost nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from edgecache import fill
from edgecache.slice_buffer import PIECE
from edgecache.web.protocol import WRITE_BUFFER
from tests import serving
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, at_rest, download, fetch, gauge, held, left, put, span, still
from tests.serving import SLICE, Serve, Site
from tests.waiting import until

serve = serving.serve
# `still` knows nothing of a disk's threads.
pytestmark = pytest.mark.parametrize("serve", ["memory"], indirect=True)

SMALL_SOCKET = 4096
# More than the kernel takes for a client that does not read: 4 MiB, see net.ipv4.tcp_wmem.
MANY = 160


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(log={"access": "off"}) as site:
        yield site


def unsent(site: Site) -> list[int]:
    """Bytes that each client connection has in the transport's buffer."""
    connections = site.server._public.connections
    return [one.transport.get_write_buffer_size() for one in connections if one.transport]


# Leaving


async def test_a_client_that_leaves_costs_the_slice_in_flight(site: Site) -> None:
    put(site, 8)
    middle, border = (site.origin.hold(KEY, after=at) for at in (SLICE + 10, 3 * SLICE))
    async with download(site, TARGET, {"Range": span(0, 4)}) as got:
        await got.read(SLICE + 10)
        got.leave()
    await still(site)
    middle.release()
    await at_rest(site)
    assert left() == []
    border.release()
    (request,) = site.origin.requests
    assert (request.range, request.aborted) == (span(0, 4), True)
    assert request.sent in (2 * SLICE, 3 * SLICE)  # what the sockets hold was not asked to stop
    bought = await site.metric("origin_body_bytes_total")
    assert bought <= request.sent
    unread = await site.metric("origin_wasted_bytes_total", cause="unread")
    assert bought - unread < 3 * SLICE
    assert await site.metric("cache_slices") == 2
    assert await site.metric("fills_total", end="abandoned") == 1


async def test_a_client_that_leaves_before_its_answer_costs_little(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is missed at the first write; the fill may have begun another slice by then."""
    monkeypatch.setattr(fill, "FIRST_READER_LIMIT", 0.01)
    put(site, 8)
    head, border = site.origin.hold(KEY), site.origin.hold(KEY, after=2 * SLICE)
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", TARGET, {"Range": span(0, 4)}))
        await site.origin.arrived(1)
    await still(site)
    head.release()
    await at_rest(site)
    assert left() == []
    border.release()
    assert site.origin.asked(KEY) == [span(0, 4)]
    assert site.origin.body_bytes <= 2 * SLICE


async def test_the_leader_leaves_and_the_followers_finish(site: Site) -> None:
    data = put(site, 8)
    gate = site.origin.hold(KEY, after=SLICE + 10)
    async with AsyncExitStack() as clients:
        leader = await clients.enter_async_context(download(site, TARGET, {"Range": span(0, 4)}))
        await leader.read(SLICE + 10)
        followers = [
            await clients.enter_async_context(download(site, TARGET, {"Range": span(0, 4)}))
            for _ in range(5)
        ]
        for one in followers:
            await one.read(SLICE + 10)
        leader.leave()
        gate.release()
        for one in followers:
            assert await one.rest() == data.read(SLICE + 10, 4 * SLICE)
    await at_rest(site)
    assert site.origin.asked(KEY) == [span(0, 4)]


async def test_the_leader_leaves_while_the_origin_has_not_answered(site: Site) -> None:
    data = put(site, 4)
    gate = site.origin.hold(KEY)
    async with site.connect() as leader:
        await leader.send(serving.request_bytes("GET", TARGET, {"Range": span(0, 4)}))
        await site.origin.arrived(1)
        async with asyncio.TaskGroup() as followers:
            bodies = [followers.create_task(fetch(site, TARGET, span(0, 4))) for _ in range(3)]
            await still(site)
            leader.writer.transport.abort()
            await still(site)
            gate.release()
    assert [await one for one in bodies] == [data.read()] * 3
    assert site.origin.asked(KEY) == [span(0, 4)]
    await at_rest(site)


async def test_all_leave_and_the_next_client_is_served(site: Site) -> None:
    data = put(site, 8)
    gate = site.origin.hold(KEY, after=SLICE + 10)
    async with AsyncExitStack() as clients:
        for _ in range(10):
            one = await clients.enter_async_context(download(site, TARGET, {"Range": span(0, 4)}))
            await one.read(SLICE + 10)
            one.leave()
    await still(site)
    gate.release()
    await at_rest(site)
    assert left() == []
    assert await fetch(site, TARGET) == data.read()
    assert site.origin.body_bytes <= data.length + 4 * SLICE


async def test_a_held_origin_answer_ends_in_time_when_all_have_left(serve: Serve) -> None:
    """Nothing is read for nobody for longer than `stall_timeout`."""
    quick = {"stall_timeout": 0.05, "retries": 0}
    async with serve(log={"access": "off"}, fetch=quick) as site:
        put(site, 8)
        site.origin.hold(KEY, after=10)
        async with download(site, TARGET) as got:
            await got.read(10)
            got.leave()
        await at_rest(site)
        assert await site.metric("fills_total", end="failed") == 1


@pytest.mark.parametrize("comes", [False, True], ids=["nobody", "another"])
async def test_what_waits_for_its_turn_is_not_asked_for_when_all_have_left(
    serve: Serve, comes: bool
) -> None:
    """And it is, if another client comes in time."""
    async with serve(log={"access": "off"}, fetch={"connections": 1}) as site:
        data, _ = put(site, 4), put(site, 1, 2, "outputs/other.mp4")
        await fetch(site, TARGET, span(0))
        site.origin.reset()
        gate = site.origin.hold("outputs/other.mp4")
        async with asyncio.TaskGroup() as clients:
            clients.create_task(fetch(site, "/outputs/other.mp4"))
            await gate.reached.wait()
            async with download(site, TARGET) as got:
                await got.read(SLICE)
                got.leave()
            await until(lambda: gauge(site, "http_requests_in_flight") == 1)
            others = [clients.create_task(fetch(site, TARGET, span(1)))] if comes else []
            if others:
                await until(lambda: gauge(site, "http_requests_in_flight") == 2)
                await site.looked_up()
            assert gauge(site, "fills_active") == 1
            gate.release()
        await at_rest(site)
        assert [one.result() for one in others] == [data.read(SLICE, 2 * SLICE)] * comes
        assert len(site.origin.asked(KEY)) == comes
        assert await site.metric("fills_total", end="abandoned") == (not comes)


# Slow ones


@pytest.mark.parametrize("objects", [1, 6])
async def test_a_slow_client_holds_two_slices_and_a_full_transport(
    site: Site, objects: int
) -> None:
    """Six that do not read, on one object and on one each; none of them costs the other more."""
    for number in range(objects):
        put(site, MANY, number, f"{KEY}{number}")
    async with AsyncExitStack() as clients:
        for number in range(6):
            target = f"{TARGET}{number % objects}"
            slow = download(site, target, buffer=SMALL_SOCKET)
            await (await clients.enter_async_context(slow)).read(1)
        await still(site)
        assert 0 < held(site) <= 6 * 2 * SLICE
        assert 0 < max(unsent(site)) <= WRITE_BUFFER + PIECE
        most = site.origin.body_bytes
        await still(site)
        assert site.origin.body_bytes == most < MANY * SLICE * objects
    await at_rest(site)


async def test_fast_followers_overtake_a_slow_leader(site: Site) -> None:
    data = put(site, MANY)
    async with download(site, TARGET, buffer=SMALL_SOCKET) as slow:
        begin = await slow.read(1)
        await still(site)
        for body in await asyncio.gather(*(fetch(site, TARGET) for _ in range(3))):
            assert body == data.read()
        assert site.origin.body_bytes == data.length
        assert held(site) <= 2 * SLICE
        assert begin + await slow.rest() == data.read()  # from the store, then
    assert site.origin.body_bytes == data.length
    await at_rest(site)


async def test_a_slow_client_gives_its_connection_back_and_goes_on_slice_by_slice(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection to the origin is enough for others, and what was asked for is not cut off
    time and again."""
    monkeypatch.setattr(fill, "PAUSE_LIMIT", 0)
    fetching = {"connections": 1, "max_run": 16 * SLICE}
    async with serve(log={"access": "off"}, fetch=fetching) as site:
        slow_data, data = put(site, MANY), put(site, 4, 2, "outputs/other.mp4")
        async with download(site, TARGET, buffer=SMALL_SOCKET) as slow:
            begin = await slow.read(1)
            await still(site)
            assert gauge(site, "origin_inflight") == 0
            assert await fetch(site, "/outputs/other.mp4") == data.read()
            assert begin + await slow.rest() == slow_data.read()
        await at_rest(site)
        assert await site.metric("fills_total", end="abandoned") == 1


async def test_a_stuck_client_is_cut_in_the_end(serve: Serve) -> None:
    async with serve(log={"access": "off"}, listen={"write_timeout": 0.05}) as site:
        site.origin.put(KEY, Pattern(MANY * SLICE))
        async with download(site, TARGET, buffer=SMALL_SOCKET) as slow:
            await slow.read(1)
            await at_rest(site)
            await slow.cut()
