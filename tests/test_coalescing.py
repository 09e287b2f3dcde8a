"""Many clients, one origin read: whole and in ranges, when it succeeds and when it fails."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest

from edgecache import stream
from tests import serving
from tests.faults import Cut, Error
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, asking, at_rest, fetch, gauge, left, put, span
from tests.runpod import RunPodOrigin
from tests.serving import SLICE, Reply, Serve, Site
from tests.waiting import PATIENCE, until

serve = serving.serve_exactly

T = TypeVar("T")

CLIENTS = 100


@pytest.fixture
async def site(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A busy machine must not look like a slow origin: seeks join what is on its way."""
    monkeypatch.setattr(stream, "SEEK_PATIENCE", PATIENCE)
    async with serve(log={"access": "off"}) as site:
        yield site


async def together(site: Site, *asking: Awaitable[T]) -> list[T]:
    """All of them under way before the origin answers the first."""
    gate = site.origin.hold(KEY)
    async with asyncio.timeout(3 * PATIENCE), asyncio.TaskGroup() as clients:
        tasks = [clients.create_task(awaited(one)) for one in asking]
        await until(lambda: gauge(site, "http_requests_in_flight") == len(asking))
        await site.looked_up()
        gate.release()
    return [task.result() for task in tasks]


async def awaited(one: Awaitable[T]) -> T:
    return await one


def ranges(seed: int, count: int, length: int) -> list[tuple[int, int]]:
    """(first, last), unaligned and overlapping, from one byte to most of the object."""
    chance = random.Random(seed)
    firsts = [chance.randrange(length) for _ in range(count)]
    return [(first, min(first + int(length ** chance.random()), length - 1)) for first in firsts]


def covered(spans: list[tuple[int, int]], length: int) -> int:
    """Bytes of the slices that the ranges touch."""
    numbers = {n for first, last in spans for n in range(first // SLICE, last // SLICE + 1)}
    return sum(min((n + 1) * SLICE, length) - n * SLICE for n in numbers)


# Each byte once


async def test_a_hundred_whole_reads_cost_one(site: Site) -> None:
    data = put(site, 40)
    bodies = await together(site, *(fetch(site, TARGET) for _ in range(CLIENTS)))
    assert all(body == data.read() for body in bodies)
    assert site.origin.body_bytes == data.length
    await at_rest(site)
    assert left() == []
    assert await site.metric("coalesced_requests_total") == CLIENTS - 1


@pytest.mark.parametrize("seed", range(3))
async def test_a_hundred_overlapping_ranges_cost_their_slices_once(site: Site, seed: int) -> None:
    data = put(site, 40, seed)
    spans = ranges(seed, CLIENTS, data.length)
    bodies = await together(site, *(fetch(site, TARGET, f"bytes={a}-{b}") for a, b in spans))
    assert bodies == [data.read(first, last + 1) for first, last in spans]
    assert site.origin.body_bytes == covered(spans, data.length)
    await at_rest(site)
    assert left() == []


async def test_whole_and_ranged_reads_together_cost_the_object_once(site: Site) -> None:
    data = put(site, 40)
    spans = ranges(9, CLIENTS // 2, data.length)
    ranged = [fetch(site, TARGET, f"bytes={a}-{b}") for a, b in spans]
    whole = [fetch(site, TARGET) for _ in range(CLIENTS // 2)]
    bodies = await together(site, *ranged, *whole)
    assert bodies[: len(spans)] == [data.read(first, last + 1) for first, last in spans]
    assert all(body == data.read() for body in bodies[len(spans) :])
    assert site.origin.body_bytes == data.length
    await at_rest(site)


@pytest.mark.parametrize("seed", range(2))
async def test_impatient_seekers_are_right_too(
    site: Site, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for another's fill: runs are cut short, and asked for in part again."""
    monkeypatch.setattr(stream, "SEEK_PATIENCE", 0)
    data = put(site, 40)
    spans = ranges(seed, CLIENTS // 2, data.length)
    bodies = await together(
        site,
        *(fetch(site, TARGET, f"bytes={a}-{b}") for a, b in spans),
        *(fetch(site, TARGET) for _ in range(3)),
    )
    assert bodies[:-3] == [data.read(first, last + 1) for first, last in spans]
    assert bodies[-3:] == [data.read()] * 3
    await at_rest(site)
    assert left() == []
    assert await site.metric("cache_slices") == 40


async def test_what_clients_got_and_the_origin_sent_add_up_to_the_byte(site: Site) -> None:
    data = put(site, 10)
    site.origin.put("outputs/small", b"x" * 10)
    spans = ranges(5, 20, data.length)
    bodies = await together(site, *(fetch(site, TARGET, f"bytes={a}-{b}") for a, b in spans))
    bodies += [await fetch(site, TARGET), await fetch(site, "/outputs/small")]
    await site.head("/outputs/small")
    await at_rest(site)
    assert await site.metric("client_body_bytes_total") == sum(map(len, bodies))
    assert await site.metric("origin_body_bytes_total") == site.origin.body_bytes
    assert await site.metric("origin_body_bytes_total") == data.length + 10


# One question


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_hundred_requests_for_what_is_not_there_ask_once(site: Site, method: str) -> None:
    replies = await together(site, *(site.request(method, TARGET) for _ in range(CLIENTS)))
    assert {reply.status for reply in replies} == {404}
    assert len(site.origin.requests) == 1


async def test_a_stale_object_is_revalidated_once(site: Site) -> None:
    data = put(site, 4)
    await fetch(site, TARGET)
    site.clock.advance(1e6)
    site.origin.reset()
    bodies = await together(site, *(fetch(site, TARGET) for _ in range(CLIENTS // 2)))
    assert all(body == data.read() for body in bodies)
    assert [one.status for one in site.origin.requests] == [304]


async def test_one_object_does_not_wait_for_another(site: Site) -> None:
    put(site, 4)
    site.origin.put("outputs/other", b"there")
    gate = site.origin.hold(KEY)
    async with asking(site, TARGET) as held:
        await site.origin.arrived(1)
        assert await fetch(site, "/outputs/other") == b"there"
        gate.release()
        await held.head()


# When it fails


async def test_a_failed_opening_fails_once_for_all(site: Site) -> None:
    """L05: one wave of errors, no retry of each client's own, and then a new leader."""
    data = put(site, 4)
    site.origin.fault(Error(500), key=KEY)
    replies = await together(site, *(site.get(TARGET) for _ in range(CLIENTS)))
    assert {reply.status for reply in replies} == {502}
    assert len(site.origin.requests) == 1
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)


async def test_a_fill_that_is_cut_off_fails_once_for_all(serve: Serve) -> None:
    """Once it is not gone on with any more."""
    async with serve(log={"access": "off"}, fetch={"retries": 0}) as site:
        data = put(site, 4)
        site.origin.fault(Cut(SLICE + 10), key=KEY)

        async def cut() -> bytes:
            async with asking(site, TARGET, {"Range": span(0, 4)}) as got:
                await got.head()
                return await got.cut()

        for body in await together(site, *(cut() for _ in range(CLIENTS // 2))):
            assert body == data.read(0, len(body))
        assert len(site.origin.requests) <= 2  # who came late to the cut asked again, once for all
        assert await fetch(site, TARGET) == data.read()
        await at_rest(site)


async def test_a_fill_that_is_cut_off_is_gone_on_with_once_for_all(site: Site) -> None:
    data = put(site, 4)
    site.origin.fault(Cut(SLICE + 10), key=KEY)
    bodies = await together(site, *(fetch(site, TARGET, span(0, 4)) for _ in range(CLIENTS // 2)))
    assert all(body == data.read(0, 4 * SLICE) for body in bodies)
    await at_rest(site)
    assert len(site.origin.requests) == 2
    assert site.origin.body_bytes == data.length


Change = Callable[[RunPodOrigin], object]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda origin: origin.put(KEY, Pattern(2 * SLICE, 7)), 200),
        (lambda origin: origin.remove(KEY), 404),
    ],
)
async def test_all_see_what_the_origin_has_now(site: Site, change: Change, status: int) -> None:
    """The object is replaced or removed while its stored response is stale."""
    put(site, 4)
    await fetch(site, TARGET)
    site.clock.advance(1e6)
    change(site.origin)
    site.origin.reset()
    replies: list[Reply] = await together(site, *(site.get(TARGET) for _ in range(30)))
    assert {reply.status for reply in replies} == {status}
    if status == 200:
        assert {reply.body for reply in replies} == {Pattern(2 * SLICE, 7).read()}
    assert len({one.raw_path for one in site.origin.requests}) == 1
    assert len(site.origin.requests) <= 3
