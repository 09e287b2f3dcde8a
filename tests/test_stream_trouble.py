"""Reads while the disk or the origin is odd: right bytes, at no more than they must cost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgecache.core.errors import StoreError
from edgecache.store.memory import MemorySlice, MemoryStore
from tests import serving
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, at_rest, download, fetch, left, put, span
from tests.serving import SLICE, Serve, Site

serve = serving.serve
pytestmark = pytest.mark.parametrize("serve", ["memory"], indirect=True)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    monkeypatch.setitem(serving.VARIANTS, "memory", lambda: serving.on_store(store))
    return store


@pytest.fixture
async def site(store: MemoryStore, serve: Serve) -> AsyncIterator[Site]:
    """On the twin, which misbehaves when told to."""
    async with serve(log={"access": "off"}) as site:
        yield site


# The disk


async def test_a_full_disk_passes_bytes_through(site: Site, store: MemoryStore) -> None:
    """Nothing is kept, and each read costs what it gives, no more."""
    store.failing = True
    data = put(site, 20)
    for _ in range(2):
        site.origin.reset()
        assert await fetch(site, TARGET) == data.read()
        assert site.origin.body_bytes == data.length
    assert await fetch(site, TARGET, "bytes=70000-300000") == data.read(70000, 300001)
    await at_rest(site)
    assert left() == []
    assert store.slices == 0


async def test_a_full_disk_is_passed_by_for_many_clients_and_used_when_it_has_room(
    site: Site, store: MemoryStore
) -> None:
    store.failing = True
    data = put(site, 20)
    bodies = await asyncio.gather(*(fetch(site, TARGET) for _ in range(20)))
    assert all(body == data.read() for body in bodies)
    store.failing = False
    assert await fetch(site, TARGET) == data.read()
    site.origin.reset()
    assert await fetch(site, TARGET) == data.read()
    assert site.origin.requests == []
    await at_rest(site)
    assert left() == []


async def test_a_disk_that_fills_up_in_the_middle_of_a_read(site: Site, store: MemoryStore) -> None:
    data = put(site, 12)
    gate = site.origin.hold(KEY, after=10, skip=3)
    async with download(site, TARGET) as got:
        begin = await got.read(4 * SLICE + 10)
        assert gate.reached.is_set()
        store.failing = True
        gate.release()
        assert begin + await got.rest() == data.read()
    assert site.origin.body_bytes == data.length


@pytest.mark.parametrize("good", range(6))
async def test_a_disk_that_fails_while_it_is_read_is_passed_by(
    site: Site, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """K13: after so many good reads; the origin has the bytes too, from the very position."""
    data = put(site, 3)
    await fetch(site, TARGET)
    store.cold = True
    reads = iter(range(100))

    async def read(one: MemorySlice, start: int, stop: int) -> bytes:
        if next(reads) >= good:
            raise StoreError("Input/output error")
        return one._data[start : start + 20_000]

    monkeypatch.setattr(MemorySlice, "read", read)
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert left() == []


async def test_a_cache_too_small_for_the_object_still_serves_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices are evicted while they are read, its own among them."""
    store = MemoryStore(limit=2 * SLICE)
    monkeypatch.setitem(serving.VARIANTS, "memory", lambda: serving.on_store(store))
    async with serve(log={"access": "off"}) as site:
        data = put(site, 20)
        bodies = await asyncio.gather(*(fetch(site, TARGET) for _ in range(5)))
        assert all(body == data.read() for body in bodies)
        await at_rest(site)
        assert left() == []


# The origin's habits


async def test_a_video_is_served_right_from_an_origin_with_all_quirks(site: Site) -> None:
    """HEAD refused, UTC dates, weak ETags, conditions and Range ignored, missing as 400."""
    quirks = site.origin.quirks
    quirks.head_forbidden = quirks.utc_dates = quirks.weak_etags = True
    quirks.ignore_conditionals = quirks.ignore_range = True
    quirks.missing_as_400 = quirks.cloudflare_fields = True
    data = put(site, 24)
    head = await site.head(TARGET)
    assert (head.status, int(head.headers["Content-Length"])) == (200, data.length)
    assert head.headers["ETag"].startswith('"')
    assert head.headers["Last-Modified"].endswith("GMT")
    async with download(site, TARGET, {"Range": "bytes=0-"}) as playing:
        assert await playing.read(3 * SLICE) == data.read(0, 3 * SLICE)
        for first in (data.length - 5000, 10 * SLICE + 7, SLICE - 1):
            async with download(site, TARGET, {"Range": f"bytes={first}-"}) as seeking:
                assert seeking.headers["Content-Type"] == "video/mp4"
                assert await seeking.read(5000) == data.read(first, first + 5000)
                seeking.leave()
        assert await playing.rest() == data.read(3 * SLICE)
    await at_rest(site)
    site.origin.reset()
    assert await fetch(site, TARGET) == data.read()
    assert site.origin.requests == []
    site.clock.advance(1e6)
    assert await fetch(site, TARGET, span(3)) == data.read(3 * SLICE, 4 * SLICE)
    assert (await site.get("/outputs/none")).status == 404


async def test_all_quirks_but_range_cost_only_the_slices(site: Site) -> None:
    quirks = site.origin.quirks
    quirks.head_forbidden = quirks.utc_dates = quirks.weak_etags = True
    quirks.ignore_conditionals = quirks.missing_as_400 = quirks.cloudflare_fields = True
    data = put(site, 24)
    for first in (data.length - 5000, 10 * SLICE + 7, SLICE - 1):
        assert await fetch(site, TARGET, f"bytes={first}-{first + 4999}") == data.read(
            first, first + 5000
        )
    await at_rest(site)
    assert site.origin.body_bytes == 4 * SLICE - 100  # the last, the tenth, the first two
    site.clock.advance(1e6)
    assert await fetch(site, TARGET, span(10)) == data.read(10 * SLICE, 11 * SLICE)
    assert site.origin.body_bytes == 4 * SLICE - 100 + 1  # revalidated with one byte


async def test_an_empty_object_and_one_of_a_byte(site: Site) -> None:
    site.origin.put("outputs/empty", b"")
    site.origin.put("outputs/byte", b"x")
    for _ in range(2):
        assert (await site.get("/outputs/empty")).body == b""
        assert (await site.get("/outputs/byte")).body == b"x"
        assert (await site.get("/outputs/empty", {"Range": "bytes=0-0"})).status == 416
        assert (await site.get("/outputs/byte", {"Range": "bytes=-5"})).body == b"x"
    await at_rest(site)
    assert len(site.origin.requests) == 3  # the empty one's first byte was asked for in vain


async def test_a_range_beyond_the_end_is_refused_and_costs_a_byte(site: Site) -> None:
    data = Pattern(3 * SLICE)
    site.origin.put(KEY, data)
    reply = await site.get(TARGET, {"Range": f"bytes={9 * SLICE}-"})
    assert (reply.status, reply.headers["Content-Range"]) == (416, f"bytes */{data.length}")
    await at_rest(site)
    assert site.origin.asked(KEY) == [f"bytes={9 * SLICE}-{10 * SLICE - 1}", "bytes=0-0"]
