"""The ledger: every byte of the origin has a reason, every byte of a client a source, and the sums
are what origin and clients counted themselves, to the byte.

What is compared. The origin counts the body bytes that its kernel took, of errors too; edgecache
those that came, whether it read them, left them in its buffers or in its kernel's (`drop` in
upstream.py). For an answer that was read to its end, or that the origin broke, the two are one
number. Of an answer that edgecache drops while the origin is still sending, the origin's kernel may
take bytes that never leave it, or that arrive when nobody is there any more: neither side can know
how many the other saw. So here the origin has paused, or has sent everything, when such an answer
is dropped, and `came` waits until all of it has come. Then these, too, are equal.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from edgecache import fill, stream
from edgecache.core.model import ObjectMeta, Reason, Removal, SliceKey, Source, Waste
from edgecache.store import Bytes, SliceStore
from edgecache.store.memory import MemoryStore
from edgecache.upstream import HttpBody
from tests import serving
from tests.faults import Action, Cut, Error, Framed, Framing, Reset
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, alive, asking, at_rest, download, fetch, put, span
from tests.serving import SLICE, Reply, Serve, Site, gather
from tests.waiting import PATIENCE, until
from tests.web.test_warming import warm

serve = serving.serve_exactly
QUIET = {"log": {"access": "off"}}
LONG = "The gateway has a lot to say. " * 400  # more than is read of an error


async def bought(site: Site, *reasons: Reason) -> int:
    """Of these reasons, or of all."""
    counts = [await site.metric("origin_body_bytes_total", reason=one) for one in reasons or Reason]
    return int(sum(counts))


async def wasted(site: Site, *causes: Waste) -> int:
    counts = [await site.metric("origin_wasted_bytes_total", cause=one) for one in causes or Waste]
    return int(sum(counts))


async def given(site: Site) -> int:
    counts = [await site.metric("client_body_bytes_total", source=one) for one in Source]
    assert sum(counts) == await site.metric("client_body_bytes_total")
    return int(sum(counts))


async def reconciles(site: Site) -> None:
    """The reasons are all there are, and together what the origin sent."""
    await at_rest(site)
    total = await site.metric("origin_body_bytes_total")
    assert (await bought(site), total) == (site.origin.body_bytes, site.origin.body_bytes)


async def came(site: Site, count: int) -> None:
    """Until the bodies that are being read have so many bytes, read or not."""
    await until(lambda: sum(b._response.content.total_bytes for b in bodies()) == count)


def bodies() -> list[HttpBody]:
    return [one for one in alive(HttpBody) if isinstance(one, HttpBody)]


# One kind of traffic after the other; each tells how many body bytes its clients got.


async def wholes_and_ranges(site: Site) -> int:
    put(site, 9)
    got = [await fetch(site, TARGET, one) for one in ("bytes=-1", span(2, 2), "bytes=7-9")]
    got += [await fetch(site, TARGET) for _ in range(2)]
    got.append((await site.get(TARGET, {"Range": "bytes=0-9, 200000-200009"})).body)
    return sum(map(len, got))


async def seeks_at_once(site: Site) -> int:
    put(site, 30, key="outputs/long.mp4")
    target = "/outputs/long.mp4"
    got = await gather(
        *(site.get(target, {"Range": f"bytes={n * SLICE * 7 // 2}-"}) for n in range(8)),
        *(site.get(target) for _ in range(4)),
    )
    return size_of(got)


async def heads_and_empty_objects(site: Site) -> int:
    put(site, 3, key="outputs/head.mp4")
    site.origin.put("outputs/empty.mp4", b"")
    await site.head("/outputs/head.mp4")
    return size_of([await site.get("/outputs/empty.mp4")])


async def revalidations(site: Site) -> int:
    """304, another version, an origin that knows no conditions."""
    target, key = "/outputs/old.mp4", "outputs/old.mp4"
    put(site, 3, key=key)
    got = [await site.get(target)]
    site.clock.advance(1e6)
    got.append(await site.get(target))
    put(site, 3, key=key, seed=2)
    site.clock.advance(1e6)
    got.append(await site.get(target))
    await at_rest(site)
    site.origin.quirks.ignore_conditionals = True
    site.clock.advance(1e6)
    got.append(await site.get(target, {"Range": "bytes=5-9"}))
    site.origin.quirks.ignore_conditionals = False
    return size_of(got)


async def errors(site: Site) -> int:
    """Missing keys and refusals, of few words and of many. What clients read of it is edgecache's
    own words, and no body byte of an object."""
    put(site, 2, key="outputs/bad.mp4")
    got = 0
    for number in range(3):
        await site.get(f"/outputs/missing-{number}.mp4")
    for status in (403, 404, 500, 502, 503, 524):
        for message in ("No.", LONG):
            site.origin.fault(Error(status, "Wrong", message), key="outputs/bad.mp4")
            got += await fails_or_not(site, "/outputs/bad.mp4")
    return got


async def fails_or_not(site: Site, target: str) -> int:
    reply = await site.get(target)
    site.clock.advance(60)  # for a 404 to be forgotten
    return len(reply.body) if reply.status == 200 else 0


async def passed_through(site: Site) -> int:
    headers = {"Cache-Control": "no-store"}
    site.origin.put("outputs/private.mp4", Pattern(90_000), headers=headers)
    fields: list[dict[str, str]] = [{}, {"Range": "bytes=5-60000"}, {"Range": "bytes=0-0, 9-9"}]
    return size_of([await site.get("/outputs/private.mp4", one) for one in fields])


async def warmed(site: Site) -> int:
    put(site, 5, key="outputs/warm.mp4")
    assert (await warm(site, "outputs/warm.mp4"))[0] == "stored"
    assert await bought(site, Reason.WARM) == 5 * SLICE - 100
    return 0


def size_of(replies: list[Reply]) -> int:
    return sum(len(reply.body) for reply in replies)


@pytest.mark.parametrize(
    "serve", ["memory", "disk", "workers", "workers, kept alive"], indirect=True
)
async def test_mixed_traffic_adds_up_on_both_sides(serve: Serve) -> None:
    kinds: list[Callable[[Site], Awaitable[int]]] = [
        *(wholes_and_ranges, seeks_at_once, heads_and_empty_objects, revalidations),
        *(errors, passed_through, warmed),
    ]
    async with serve(**QUIET) as site:
        got = 0
        for kind in kinds:
            got += await kind(site)
            await reconciles(site)
        assert await given(site) == got


BREAKS: dict[str, tuple[Action, ...]] = {
    "cut": (Cut(SLICE + 10),),
    "reset": (Reset(SLICE + 10),),
    "cut at once": (Cut(0),),
    "chunked, cut": (Framed(Framing.CHUNKED), Cut(SLICE + 10)),
    "without a length, cut": (Framed(Framing.CLOSE), Cut(10)),
    "an error that is cut": (Error(502, "Bad", LONG), Cut(5000)),
    "before the head": (Reset(),),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_what_came_of_a_broken_answer_counts(serve: Serve, name: str) -> None:
    """Whatever becomes of the client's answer."""
    async with serve(**QUIET) as site:
        put(site, 6)
        for skip in (0, 1):
            site.origin.fault(*BREAKS[name], skip=skip)
            async with asking(site, TARGET, {"Range": span(0, 5)}) as got:
                with suppress(asyncio.IncompleteReadError, ConnectionResetError):
                    await got.head()
                    await got.rest()
            await reconciles(site)
            site.clock.advance(60)


# Answers that are dropped


@pytest.mark.parametrize("serve", ["memory"], indirect=True)
async def test_a_seeker_s_overlap_is_bought_twice_and_said_to_be(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was asked for and then cut short by a seeker, who has the end of it by himself."""
    monkeypatch.setattr(stream, "SEEK_PATIENCE", 0)
    monkeypatch.setattr(fill, "DISK_PATIENCE", PATIENCE)
    async with serve(**QUIET) as site:
        data, disk = put(site, 4), asyncio.Event()
        hold_the_first_slice(site.server.store, disk, monkeypatch)
        gate = site.origin.hold(KEY, after=10)
        async with download(site, TARGET, {"Range": span(0, 4)}) as first:
            assert await first.read(10) == data.read(0, 10)
            assert await fetch(site, TARGET, span(2, 2)) == data.read(2 * SLICE)
            await until(lambda: site.server.store.slices == 2)
            gate.release()
            await came(site, data.length)
            disk.set()  # the fill goes on, to see that there is nothing left for it to do
            assert await first.rest() == data.read(10)
        await reconciles(site)
        twice = data.length - 2 * SLICE
        assert site.origin.body_bytes == data.length + twice
        assert await bought(site, Reason.DUPLICATE) == twice
        assert await bought(site, Reason.DEMAND) == data.length
        assert await wasted(site, Waste.UNREAD, Waste.UNSTORED) == await wasted(site) == twice


def hold_the_first_slice(
    store: SliceStore, disk: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not stored before `disk` is set."""
    put_now = store.put

    async def put_later(key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        if key.number == 0:
            await disk.wait()
        return await put_now(key, meta, data)

    monkeypatch.setattr(store, "put", put_later)


async def test_what_an_origin_without_ranges_sends_again_is_duplicate(serve: Serve) -> None:
    async with serve(**QUIET) as site:
        data = put(site, 6)
        assert await fetch(site, TARGET, span(3, 2)) == data.read(3 * SLICE, 5 * SLICE)
        await until(lambda: site.server.store.slices == 2)
        site.origin.quirks.ignore_range = True
        assert await fetch(site, TARGET) == data.read()
        await reconciles(site)
        assert await bought(site, Reason.DUPLICATE) == 2 * SLICE
        assert await bought(site, Reason.DEMAND) == data.length


@pytest.mark.parametrize("serve", ["memory"], indirect=True)
async def test_a_slice_that_was_corrupt_is_bought_on_demand_again(serve: Serve) -> None:
    async with serve(**QUIET) as site:
        data, store = put(site, 1), site.server.store
        assert isinstance(store, MemoryStore)
        for _ in range(2):
            assert await fetch(site, TARGET) == data.read()
            await at_rest(site)
            (key,) = store._data
            store._remove(key, Removal.CORRUPT, data.length)
        await reconciles(site)
        assert await bought(site, Reason.DEMAND) == 2 * data.length


# What becomes of it


@pytest.mark.parametrize("serve", ["memory"], indirect=True)
async def test_what_was_bought_is_stored_or_passed_on_or_wasted(serve: Serve) -> None:
    """Without objects that are replaced, and bytes that are bought twice."""
    async with serve(**QUIET) as site:
        for kind in (wholes_and_ranges, heads_and_empty_objects, errors, passed_through, warmed):
            await kind(site)
            await at_rest(site)
        store = site.server.store
        assert isinstance(store, MemoryStore)
        stored = sum(len(data) for data in store._data.values())
        passed = await site.metric("client_body_bytes_total", source=Source.PASSTHROUGH)
        assert await bought(site, Reason.DUPLICATE) == 0
        assert stored + passed + await wasted(site) == site.origin.body_bytes


@pytest.mark.parametrize("serve", ["memory"], indirect=True)
async def test_a_client_s_loss_may_exceed_its_gain(serve: Serve) -> None:
    """What is saved is negative where more was bought than given."""
    async with serve(**QUIET) as site:
        put(site, 4)
        await warm(site, KEY)
        await fetch(site, TARGET, "bytes=0-9")
        assert await given(site) - await bought(site) == 10 - (4 * SLICE - 100)
