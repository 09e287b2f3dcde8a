"""Bytes of one version, from the store and from fills: what they cost and when they come."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise

import pytest

from edgecache import stream
from edgecache.core.model import SliceKey, Source
from edgecache.request import ObjectRequest
from tests import serving
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, asking, at_rest, download, fetch, gauge, put, span
from tests.serving import SLICE, Serve, Site
from tests.stack import KEY as STACK_KEY
from tests.stack import ROUTE, SIZE, Stack
from tests.waiting import PATIENCE, until

serve = serving.serve_exactly

MIB = 2**20
GIB = 2**30


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(log={"access": "off"}) as site:
        yield site


# What a read costs


@pytest.mark.parametrize(
    ("range_", "first", "last", "asked"),
    [
        ("bytes=0-0", 0, 0, ["bytes=0-1048575"]),
        ("bytes=1048575-1048576", 1048575, 1048576, ["bytes=0-2097151"]),
        ("bytes=1048576-2097151", 1048576, 2097151, ["bytes=1048576-2097151"]),
        ("bytes=500000000-503000000", 500000000, 503000000, ["bytes=499122176-503316479"]),
        (f"bytes={GIB - 1}-{GIB - 1}", GIB - 1, GIB - 1, [f"bytes={GIB - MIB}-{GIB - 1}"]),
        (f"bytes={GIB - 9}-{GIB + 9}", GIB - 9, GIB - 1, [f"bytes={GIB - MIB}-{GIB + MIB - 1}"]),
        (f"bytes={GIB - 9}-", GIB - 9, GIB - 1, [f"bytes={GIB - MIB}-{GIB - 1}"]),
        ("bytes=-9", GIB - 9, GIB - 1, ["bytes=0-0", f"bytes={GIB - MIB}-{GIB - 1}"]),
        (
            f"bytes=0-{20 * MIB - 1}",  # longer than max_run
            0,
            20 * MIB - 1,
            [f"bytes=0-{16 * MIB - 1}", f"bytes={16 * MIB}-{20 * MIB - 1}"],
        ),
    ],
)
async def test_a_cold_range_of_a_gibibyte_costs_its_slices_and_nothing_else(
    serve: Serve, range_: str, first: int, last: int, asked: list[str]
) -> None:
    data = Pattern(GIB, 1)
    runs = {"first_run": MIB, "image_run": 4 * MIB, "max_run": 16 * MIB}
    async with serve(cache={"slice_size": MIB}, fetch=runs, log={"access": "off"}) as site:
        site.origin.put(KEY, data)
        assert await fetch(site, TARGET, range_) == data.read(first, last + 1)
        await at_rest(site)
        assert site.origin.asked(KEY) == asked
        probe = 1 if "bytes=0-0" in asked else 0
        assert site.origin.body_bytes == (last // MIB - first // MIB + 1) * MIB + probe
        site.origin.reset()
        assert await fetch(site, TARGET, range_) == data.read(first, last + 1)
        assert site.origin.requests == []


async def test_runs_get_longer_and_follow_one_another(site: Site) -> None:
    data = put(site, 12)
    assert await fetch(site, TARGET) == data.read()
    runs = [one.removeprefix("bytes=").split("-") for one in site.origin.asked(KEY) if one]
    assert [(int(last) - int(first)) // SLICE + 1 for first, last in runs] == [1, 1, 2, 4, 4]
    assert all(int(before[1]) + 1 == int(after[0]) for before, after in pairwise(runs))
    assert site.origin.body_bytes == data.length


async def test_an_image_comes_in_few_requests(site: Site) -> None:
    """The whole first run is one fill: its reader comes a turn of the loop after its answer."""
    key = "outputs/still.png"
    data = put(site, 8, key=key)
    assert await fetch(site, f"/{key}") == data.read()
    assert site.origin.asked(key) == [span(0, 4), f"bytes={4 * SLICE}-{data.length - 1}"]
    assert site.origin.body_bytes == data.length


async def test_whole_and_ranged_reads_share_slices(site: Site) -> None:
    data = put(site, 8)
    assert await fetch(site, TARGET, f"bytes={3 * SLICE + 5}-{5 * SLICE + 5}") == data.read(
        3 * SLICE + 5, 5 * SLICE + 6
    )
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert site.origin.body_bytes == data.length  # slices 3 to 5 were there
    site.origin.reset()
    for first, last in [(0, 0), (1, SLICE), (SLICE - 1, 7 * SLICE), (5, data.length - 1)]:
        assert await fetch(site, TARGET, f"bytes={first}-{last}") == data.read(first, last + 1)
    parts = await site.get(TARGET, {"Range": "bytes=0-9, 100000-100009"})
    assert data.read(0, 10) in parts.body
    assert data.read(100000, 100010) in parts.body
    assert site.origin.requests == []


async def test_the_bytes_of_a_revalidation_are_used(site: Site) -> None:
    """A stale object with a gap: one conditional GET, for the bytes that are missing."""
    data = put(site, 4)
    site.origin.quirks.ignore_conditionals = True
    await fetch(site, TARGET, span(0))
    site.clock.advance(1e6)
    site.origin.reset()
    assert await fetch(site, TARGET, span(0, 2)) == data.read(0, 2 * SLICE)
    (request,) = site.origin.requests
    assert (request.range, request.status) == (span(1), 206)
    assert request.header("if-none-match")


async def test_a_revalidation_does_not_ask_for_what_is_on_its_way(site: Site) -> None:
    """The object becomes stale while a fill of it is held."""
    data = put(site, 4)
    site.origin.quirks.ignore_conditionals = True
    gate = site.origin.hold(KEY, after=SLICE + 10)
    async with download(site, TARGET, {"Range": span(0, 4)}) as watching:
        assert await watching.read(SLICE + 10) == data.read(0, SLICE + 10)
        site.clock.advance(1e6)
        async with download(site, TARGET, {"Range": span(1)}) as joined:
            assert await joined.read(10) == data.read(SLICE, SLICE + 10)
            gate.release()
            assert await joined.rest() == data.read(SLICE + 10, 2 * SLICE)
        assert await watching.rest() == data.read(SLICE + 10)
    assert site.origin.asked(KEY) == [span(0, 4), "bytes=0-0"]


async def test_a_reader_served_from_the_store_moves_its_fill_on() -> None:
    """Else the origin would idle while the reader takes what is stored already."""
    stack = Stack()
    headers = {"Range": f"bytes=0-{3 * SIZE - 1}"}
    request = ObjectRequest(method="GET", key=STACK_KEY, route=ROUTE, headers=headers)
    answer = await stack.engine.answer(request)
    assert answer.body is not None
    async with aclosing(answer.body) as body:
        await until(lambda: stack.store.slices == 1)
        meta = await stack.store.load_meta(STACK_KEY)
        assert meta is not None
        fill = stack.fills.find(meta.version, 1)
        assert fill is not None
        second = stack.upstream.data.read(SIZE, 2 * SIZE)
        await stack.store.put(SliceKey(meta.version, 1), meta, second)
        async for source, _ in body:
            if source is Source.CACHE:
                break
        await until(lambda: not fill.covers(1))
        assert fill.covers(2)
    await stack.at_rest()


# When the bytes come


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-"}, {"Range": "bytes=500-200000"}])
async def test_the_first_bytes_go_out_as_they_come_in(site: Site, headers: dict[str, str]) -> None:
    data = put(site, 4)
    gate = site.origin.hold(KEY, after=1000)
    start = 500 if "500" in str(headers) else 0
    async with download(site, TARGET, headers) as got:
        assert await got.read(1000 - start) == data.read(start, 1000)
        assert gate.waiting == 1
        gate.release()
        assert await got.rest() == data.read(1000, 200001 if start else None)


@pytest.mark.parametrize("range_", ["", f"bytes=0-{4 * SLICE - 101}"])
async def test_a_seek_to_the_end_is_served_while_a_fill_is_held(
    site: Site, range_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the held fill is to bring the end (the range's): its reader does not lose it."""
    monkeypatch.setattr(stream, "SEEK_PATIENCE", 0)
    data = put(site, 4)
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with download(site, TARGET, {"Range": range_} if range_ else {}) as watching:
        begin = await watching.read(SLICE // 2)
        assert await fetch(site, TARGET, "bytes=-100") == data.read(data.length - 100)
        assert gate.waiting == 1
        gate.release()
        assert begin + await watching.rest() == data.read()
    await at_rest(site)


async def test_a_seek_waits_a_moment_for_a_fill_that_comes_closer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SEEK_PATIENCE", PATIENCE)
    data = put(site, 4)
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with download(site, TARGET, {"Range": span(0, 4)}) as watching:
        async with asking(site, TARGET, {"Range": span(3)}) as seeking:
            await until(lambda: gauge(site, "http_requests_in_flight") == 2)
            gate.release()
            await seeking.head()
            assert await seeking.rest() == data.read(3 * SLICE)
        assert await watching.rest() == data.read()
    assert site.origin.asked(KEY) == [span(0, 4)]
    assert site.origin.body_bytes == data.length


async def test_a_seek_into_what_comes_next_does_not_ask_again(site: Site) -> None:
    data = put(site, 4)
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with download(site, TARGET, {"Range": span(0, 4)}) as watching:
        async with download(site, TARGET, {"Range": span(0)}) as joined:
            assert await joined.read(100) == data.read(0, 100)
        gate.release()
        assert await watching.rest() == data.read()
    assert site.origin.asked(KEY) == [span(0, 4)]
