"""The origin's answer breaks at any byte: the client's does not. Its bytes are one version's."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable

import pytest

from tests import serving
from tests.faults import Action, Cut, Error, Framed, Framing, Reset, Stall
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, at_rest, download, fetch, put, span
from tests.serving import SLICE, Serve, Site, gather

serve = pytest.fixture(params=["memory", "workers"], name="serve")(serving.serving)

LENGTH = 5 * SLICE - 100
# Long beside what a busy machine may hold up an origin that is well.
QUICK = {"stall_timeout": 1}
EVERY_REQUEST = range(3)  # that a read of the whole makes, but the one for the end
CHANCE = random.Random(20)
POINTS = [0, 1, SLICE - 1, *(CHANCE.randrange(2, SLICE - 1) for _ in range(3))]


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(log={"access": "off"}) as site:
        yield site


async def is_stored_right(site: Site, data: Pattern) -> None:
    """All of it is here now, and none of it is another byte."""
    await at_rest(site)
    site.origin.reset()
    assert await fetch(site, TARGET) == data.read()
    assert site.origin.requests == []
    assert await site.metric("integrity_failures_total") == 0


# At any byte


@pytest.mark.parametrize("skip", EVERY_REQUEST)
@pytest.mark.parametrize("at", POINTS)
async def test_a_body_cut_at_any_byte_costs_not_a_byte(site: Site, at: int, skip: int) -> None:
    data = put(site, 5)
    site.origin.fault(Cut(at), skip=skip)
    reply = await site.get(TARGET)
    assert (reply.status, reply.body == data.read()) == (200, True)
    await at_rest(site)
    assert site.origin.body_bytes == LENGTH
    assert len(site.origin.requests) == 5, site.origin.asked(KEY)
    assert await site.metric("origin_resumes_total", reason="cut") == 1
    resumed = await site.metric("origin_body_bytes_total", reason="resume")
    demand = await site.metric("origin_body_bytes_total", reason="demand")
    assert resumed > 0
    assert resumed + demand == LENGTH
    await is_stored_right(site, data)


@pytest.mark.parametrize("skip", EVERY_REQUEST)
@pytest.mark.parametrize(
    "actions",
    [
        (Reset(CHANCE.randrange(SLICE)),),
        (Framed(Framing.CLOSE), Cut(CHANCE.randrange(SLICE))),
        (Framed(Framing.CHUNKED), Cut(CHANCE.randrange(SLICE))),
        (Stall(CHANCE.randrange(SLICE)),),
    ],
    ids=["reset", "closed, no length", "closed, chunked", "stalled"],
)
async def test_however_it_breaks(serve: Serve, actions: tuple[Action, ...], skip: int) -> None:
    async with serve(log={"access": "off"}, fetch=QUICK) as site:
        data = put(site, 5)
        site.origin.fault(*actions, skip=skip)
        assert await fetch(site, TARGET) == data.read()
        assert await site.metric("origin_resumes_total") == 1
        stalls = isinstance(actions[0], Stall)
        assert await site.metric("origin_resumes_total", reason="stalled") == stalls
        await is_stored_right(site, data)


async def test_an_answer_that_takes_too_long_is_gone_on_with_by_another(serve: Serve) -> None:
    async with serve(log={"access": "off"}, fetch={"total_timeout": 0.3}) as site:
        data = put(site, 5)
        site.origin.quirks.bandwidth = 200_000
        assert await fetch(site, TARGET) == data.read()
        assert await site.metric("origin_resumes_total", reason="stalled") >= 1


@pytest.mark.parametrize("at", POINTS[2:])
async def test_a_range(site: Site, at: int) -> None:
    data = put(site, 5)
    site.origin.fault(Cut(at))
    start, stop = SLICE + 100, 4 * SLICE + 5
    assert await fetch(site, TARGET, f"bytes={start}-{stop - 1}") == data.read(start, stop)
    await at_rest(site)
    assert site.origin.body_bytes == LENGTH - SLICE


async def test_several_ranges(site: Site) -> None:
    data = put(site, 5)
    site.origin.fault(Cut(1000), times=None)  # each of them, and each rest of it until it is short
    site.origin.faults[0].times = 2
    spans = [(10, 20_000), (2 * SLICE, 2 * SLICE + 70_000)]
    wanted = ",".join(f"{start}-{stop - 1}" for start, stop in spans)
    reply = await site.get(TARGET, {"Range": f"bytes={wanted}"})
    assert reply.status == 206
    found = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", reply.content_type)
    assert found
    _, *parts, _ = reply.body.split(b"--" + found[1].encode())
    bodies = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
    assert bodies == [data.read(*one) for one in spans]
    assert await site.metric("origin_resumes_total") == 2


async def test_a_head_reads_no_body_that_could_break(site: Site) -> None:
    put(site, 5)
    site.origin.fault(Cut(0))
    reply = await site.head(TARGET)
    assert (reply.status, reply.headers["Content-Length"]) == (200, str(LENGTH))


async def test_every_reader_of_the_fill_goes_on(site: Site) -> None:
    data = Pattern(SLICE - 100)
    site.origin.put(KEY, data)
    gate = site.origin.hold(KEY, after=30_000)
    site.origin.faults[0].actions += (Cut(30_000),)
    async with download(site, TARGET) as one, download(site, TARGET) as other:
        begin = [await got.read(30_000) for got in (one, other)]
        gate.release()
        for got, first in zip((one, other), begin, strict=True):
            assert first + await got.rest() == data.read()
    assert site.origin.asked(KEY) == [f"bytes=0-{SLICE - 1}", f"bytes=30000-{SLICE - 101}"]
    assert site.origin.requests[1].header("if-match") == f'"{site.origin.objects[KEY].etag}"'
    await is_stored_right(site, data)


async def test_readers_come_and_go_while_it_breaks(site: Site) -> None:
    """Whoever leaves takes nobody's bytes along."""
    data = put(site, 5)
    gate = site.origin.hold(KEY, after=30_000)
    site.origin.faults[0].actions += (Cut(30_000),)
    async with download(site, TARGET) as one, download(site, TARGET) as other:
        await one.read(30_000)
        one.leave()
        gate.release()
        assert await other.rest() == data.read()
    await is_stored_right(site, data)


@pytest.mark.parametrize("serve", ["disk"], indirect=True)
async def test_slices_of_joined_bytes_are_whole_on_the_disk(site: Site) -> None:
    data = put(site, 5)
    for skip, at in zip(EVERY_REQUEST, (1, 60_000, 100_000), strict=True):
        site.origin.fault(Cut(at), skip=2 * skip)
    assert await fetch(site, TARGET) == data.read()
    assert await site.metric("origin_resumes_total") == 3
    await at_rest(site)
    await site.restart()  # so that each slice is opened, and verified, anew
    await is_stored_right(site, data)


# What cannot be stored


@pytest.mark.parametrize("range_", ["", f"bytes=1000-{3 * SLICE}"])
async def test_what_is_passed_through_goes_on_too(site: Site, range_: str) -> None:
    data = Pattern(LENGTH)
    site.origin.put(KEY, data, headers={"Cache-Control": "no-store"})
    await site.head(TARGET)
    site.origin.reset()
    site.origin.fault(Cut(100_000))
    start, stop = (1000, 3 * SLICE + 1) if range_ else (0, LENGTH)
    assert await fetch(site, TARGET, range_) == data.read(start, stop)
    await at_rest(site)
    assert site.origin.body_bytes == stop - start
    assert await site.metric("origin_body_bytes_total", reason="resume") == stop - start - 100_000


async def test_without_a_version_there_is_no_rest(site: Site) -> None:
    data = put(site, 5)
    site.origin.quirks.no_etag = site.origin.quirks.no_last_modified = True
    await site.head(TARGET)
    site.origin.fault(Cut(100_000))
    async with download(site, TARGET) as got:
        assert data.read().startswith(await got.cut())
    assert await site.metric("origin_resumes_total") == 0
    assert await fetch(site, TARGET) == data.read()


# An origin that ignores Range


@pytest.mark.parametrize("headers", [{}, {"Cache-Control": "no-store"}], ids=["stored", "passed"])
async def test_what_comes_again_is_skipped_and_counted(site: Site, headers: dict[str, str]) -> None:
    site.origin.quirks.ignore_range = True
    data = Pattern(LENGTH)
    site.origin.put(KEY, data, headers=headers)
    if headers:
        await site.head(TARGET)
        await at_rest(site)
    before = await site.metric("origin_body_bytes_total")
    site.origin.fault(Cut(100_000))
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert await site.metric("origin_body_bytes_total", reason="duplicate") == 100_000
    bought = await site.metric("origin_body_bytes_total") - before
    assert bought == LENGTH + 100_000
    assert await site.metric("origin_wasted_bytes_total", cause="discarded") == 100_000


# An end to it


@pytest.mark.parametrize(
    ("settings", "requests"),
    [({"retries": 0}, 1), ({"retries": 2}, 3), ({"retry_share": 0}, 1)],
    ids=str,
)
async def test_when_it_is_not_to_be_repeated_the_client_is_cut_and_the_next_is_right(
    serve: Serve, settings: dict[str, float], requests: int
) -> None:
    async with serve(log={"access": "off"}, fetch=settings) as site:
        data = put(site, 1)
        site.origin.fault(Cut(10), times=None)
        async with download(site, TARGET) as got:
            assert await got.cut() == data.read(0, 10 * requests)
        assert len(site.origin.requests) == requests
        site.origin.faults.clear()
        await at_rest(site)
        assert await fetch(site, TARGET) == data.read()
        await is_stored_right(site, data)


async def test_a_rest_that_is_refused_is_asked_for_again(site: Site) -> None:
    data = put(site, 5)
    site.origin.fault(Cut(50_000))
    site.origin.fault(Error(502), skip=1)
    site.origin.fault(Error(503, "SlowDown"), skip=2)
    assert await fetch(site, TARGET) == data.read()
    assert await site.metric("origin_resumes_total", reason="cut") == 1
    assert await site.metric("origin_resumes_total", reason="refused") == 2
    await is_stored_right(site, data)


async def test_a_dead_origin_is_not_hammered(serve: Serve) -> None:
    """The budget is one for all objects. The breaker, which would end it sooner, is kept closed."""
    keys = [f"outputs/{number}" for number in range(30)]
    settings = QUICK | {"breaker_failures": 1000}
    async with serve(log={"access": "off"}, fetch=settings) as site:
        for key in keys:
            site.origin.put(key, Pattern(1000))
        site.origin.fault(Cut(10), times=None)
        for key in keys:
            async with download(site, f"/{key}") as got:
                await got.cut()
        assert len(site.origin.requests) <= 30 + 10 + 30 * 0.2 + 5


async def test_it_goes_on_while_nobody_waits_for_the_turn_of_the_part_that_broke(
    serve: Serve,
) -> None:
    """With a single connection the rest would wait for ever for that of its own broken part."""
    async with serve(log={"access": "off"}, fetch=QUICK | {"connections": 1}) as site:
        data = put(site, 5)
        site.origin.fault(Stall(20_000))
        assert await fetch(site, TARGET) == data.read()


# One in a hundred


async def test_a_thousand_reads_of_which_one_in_a_hundred_breaks(site: Site) -> None:
    chance = random.Random(5)
    length = 20_000
    keys = [f"outputs/{number:03}.webp" for number in range(1000)]
    for number, key in enumerate(keys):
        site.origin.put(key, Pattern(length, number))
    kinds: list[Callable[[int], Action]] = [Cut, Reset]
    broken = chance.sample(keys, 10)
    for key in broken:
        site.origin.fault(chance.choice(kinds)(chance.randrange(length)), key=key)
    for at in range(0, len(keys), 20):
        replies = await gather(*(site.get(f"/{key}") for key in keys[at : at + 20]))
        for number, reply in enumerate(replies, at):
            assert (reply.status, reply.body == Pattern(length, number).read()) == (200, True)
    assert await site.metric("origin_resumes_total") == 10
    assert len(site.origin.requests) == 1010


# Replaced while it breaks


ORIGINS: dict[str, dict[str, bool]] = {
    "honest": {},
    "ignores If-Match": {"ignore_conditionals": True},
    "weak ETags": {"weak_etags": True},
    "weak ETags, ignores If-Match": {"weak_etags": True, "ignore_conditionals": True},
    "no ETags": {"no_etag": True},
    "ignores Range": {"ignore_range": True, "ignore_conditionals": True},
}


@pytest.mark.parametrize("slices", [5, 1, 9], ids=["same length", "shorter", "longer"])
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("headers", [{}, {"Cache-Control": "no-store"}], ids=["stored", "passed"])
async def test_the_rest_of_another_version_is_never_joined(
    site: Site, origin: str, slices: int, headers: dict[str, str]
) -> None:
    """The client is cut, and the next request has the new version, without another in vain."""
    for quirk, value in ORIGINS[origin].items():
        setattr(site.origin.quirks, quirk, value)
    old, new = Pattern(LENGTH, 1), Pattern(slices * SLICE - 100, 2)
    site.origin.put(KEY, old, headers=headers)
    if headers:
        await site.head(TARGET)
    gate = site.origin.hold(KEY, after=40_000)
    site.origin.faults[-1].actions += (Cut(40_000),)
    async with download(site, TARGET) as got:
        begin = await got.read(30_000)
        site.origin.put(KEY, new, headers=headers)
        gate.release()
        begin += await got.cut()
    assert begin == old.read(0, len(begin))
    assert len(begin) == 40_000
    reply = await site.get(TARGET)
    assert (reply.status, reply.body == new.read()) == (200, True)
    if not headers:
        assert await site.metric("version_changes_total", where="slice") == 1
        await is_stored_right(site, new)


async def test_before_the_head_it_is_planned_again(site: Site) -> None:
    """Nothing was sent of the old version: the client gets the new one, and notices nothing."""
    put(site, 5)
    new = Pattern(3 * SLICE, 2)
    gate = site.origin.hold(KEY, after=0)
    site.origin.faults[-1].actions += (Cut(0),)
    asking = asyncio.create_task(site.get(TARGET))  # noqa: TID251
    await gate.reached.wait()
    site.origin.put(KEY, new)
    gate.release()
    reply = await asking
    assert (reply.status, reply.body == new.read()) == (200, True)


async def test_an_object_that_is_removed_meanwhile_is_missing_then(site: Site) -> None:
    put(site, 5)
    gate = site.origin.hold(KEY, after=40_000)
    site.origin.faults[-1].actions += (Cut(40_000),)
    async with download(site, TARGET) as got:
        site.origin.remove(KEY)
        gate.release()
        assert len(await got.cut()) == 40_000
    assert (await site.get(TARGET)).status == 404


async def test_who_reads_the_old_version_ends_with_it_where_all_of_it_is_here(site: Site) -> None:
    old = put(site, 40)
    assert await fetch(site, TARGET) == old.read()
    await at_rest(site)
    async with download(site, TARGET, buffer=2**14) as got:
        begin = await got.read(1000)
        new = put(site, 40, 2)
        site.clock.advance(1e6)
        assert await fetch(site, TARGET, span(3)) == new.read(3 * SLICE, 4 * SLICE)
        await site.idle()
        assert await fetch(site, TARGET) == new.read()
        assert begin + await got.rest() == old.read()
