"""What may still be written to is passed through, right, and stored once it has settled."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests import serving
from tests.faults import Cut
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, at_rest, download, fetch, put, span
from tests.serving import SLICE, Reply, Serve, Site, gather
from tests.staleness import purge

serve = serving.serve_exactly

DATA = Pattern(2 * SLICE)


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(fetch={"settle": 10}, routes=[{"browser_ttl": "1y"}]) as site:
        yield site


def put_new(site: Site, seed: int = 1, headers: dict[str, str] | None = None) -> Pattern:
    """An object that was written just now."""
    data = Pattern(2 * SLICE, seed)
    site.origin.put(KEY, data, last_modified=site.clock(), headers=headers)
    return data


def is_passed(reply: Reply) -> bool:
    return reply.cache_status == "edgecache; fwd=bypass; fwd-status=" + reply.cache_status[-3:]


async def explained(site: Site) -> dict[str, Any]:
    reply = await site.admin("GET", f"/api/explain?key={KEY}")
    assert reply.status == 200
    facts: dict[str, Any] = json.loads(reply.body)
    return facts


async def test_it_is_passed_through_until_it_has_settled(site: Site) -> None:
    data = put_new(site)
    for _ in range(10):
        reply = await site.get(TARGET)
        assert (reply.status, reply.body == data.read(), is_passed(reply)) == (200, True, True)
        assert await site.metric("cache_slices") == 0
        site.clock.advance(1)
    assert (await site.get(TARGET)).cache_status.startswith("edgecache; fwd=uri-miss")
    await at_rest(site)
    assert (await site.get(TARGET)).cache_status.startswith("edgecache; hit")


async def test_no_browser_keeps_it_until_then(site: Site) -> None:
    put_new(site)
    for reply in (await site.get(TARGET), await site.head(TARGET)):
        assert reply.headers["Cache-Control"] == "no-cache"
        assert "ETag" in reply.headers
    site.clock.advance(10)
    for reply in (await site.get(TARGET), await site.head(TARGET)):
        assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("headers", "control"),
    [
        ({"Cache-Control": "public, max-age=31536000, immutable"}, "no-cache"),
        ({"Expires": "Thu, 01 Dec 2050 16:00:00 GMT"}, "no-cache"),
        ({"Cache-Control": "no-store"}, "no-store"),
        ({"Cache-Control": "private, max-age=5"}, "private, max-age=5"),
    ],
    ids=str,
)
async def test_whatever_the_origin_says_of_keeping_it(
    site: Site, headers: dict[str, str], control: str
) -> None:
    put_new(site, headers=headers)
    reply = await site.get(TARGET)
    assert reply.headers.getall("Cache-Control") == [control]
    assert "Expires" not in reply.headers


async def test_it_is_looked_at_again_after_two_seconds(site: Site) -> None:
    put_new(site)
    await site.get(TARGET)
    asked = len(site.origin.requests)
    assert asked == 2  # one that tells, one that is passed through
    for _ in range(3):
        await site.get(TARGET)
    assert len(site.origin.requests) == asked + 3
    site.clock.advance(2)
    await site.get(TARGET)
    assert len(site.origin.requests) == asked + 3 + 2


async def test_each_client_gets_what_it_is_then(site: Site) -> None:
    """It is written to, and read, all the time."""
    for seed in range(5):
        data = put_new(site, seed)
        assert await fetch(site, TARGET) == data.read()
        assert await fetch(site, TARGET, span(1)) == data.read(SLICE, 2 * SLICE)
        site.clock.advance(1)
    await at_rest(site)
    assert await site.metric("cache_slices") == 0


async def test_explain_says_so(site: Site) -> None:
    put_new(site)
    await site.get(TARGET)
    facts = await explained(site)
    assert (facts["known"], facts["not_stored"]) == ("uncacheable", "unsettled")


async def test_what_has_settled_is_read_once_for_all(site: Site) -> None:
    data = put_new(site)
    site.clock.advance(10)
    replies = await gather(*(site.get(TARGET) for _ in range(20)))
    assert all(reply.body == data.read() for reply in replies)
    await at_rest(site)
    assert site.origin.body_bytes == 2 * SLICE


@pytest.mark.parametrize("no_last_modified", [False, True])
async def test_what_was_seen_to_change_under_a_reader_has_not_settled(
    site: Site, no_last_modified: bool
) -> None:
    """Whatever the origin says of its time."""
    site.origin.quirks.no_last_modified = no_last_modified
    put(site, 6)
    await fetch(site, TARGET, span(0))
    new = put(site, 6, 2)  # its Last-Modified is long ago, as a copy's may be
    reply = await site.get(TARGET, {"Range": span(2)})  # planned again
    assert (reply.status, reply.body) == (206, new.read(2 * SLICE, 3 * SLICE))
    assert is_passed(reply)
    assert await fetch(site, TARGET) == new.read()
    assert (await explained(site))["not_stored"] == "unsettled"
    site.clock.advance(10)
    assert await fetch(site, TARGET) == new.read()
    await at_rest(site)
    assert (await site.get(TARGET)).cache_status.startswith("edgecache; hit")


@pytest.mark.parametrize("was_replaced", [False, True])
async def test_a_purge_under_a_reader_is_no_change(site: Site, was_replaced: bool) -> None:
    """Else all that come in the next ten seconds would be passed through. What the reader sees of
    a replacement lies before the purge."""
    data = put(site, 6)
    await fetch(site, TARGET, span(0))
    gate = site.origin.hold(KEY, after=None if was_replaced else 10)
    if was_replaced:
        data = put(site, 6, 2)
    async with download(site, TARGET) as got:
        await gate.reached.wait()
        await purge(site, {"key": KEY})
        gate.release()
        await got.cut()
    await at_rest(site)
    site.origin.reset()
    replies = await gather(*(site.get(TARGET) for _ in range(50)))
    assert all(reply.body == data.read() for reply in replies)
    await at_rest(site)
    assert site.origin.body_bytes == data.length
    assert (await site.get(TARGET)).cache_status.startswith("edgecache; hit")


async def test_a_new_version_that_is_new_takes_the_place_of_the_old_one(site: Site) -> None:
    put(site, 2)
    await fetch(site, TARGET)
    site.clock.advance(1e6)
    new = put_new(site, 2)
    reply = await site.get(TARGET)
    assert (reply.body == new.read(), is_passed(reply)) == (True, True)
    site.clock.advance(10)
    assert await fetch(site, TARGET) == new.read()


async def test_what_is_passed_through_meanwhile_is_gone_on_with_where_it_breaks(site: Site) -> None:
    data = put_new(site)
    await site.head(TARGET)
    site.origin.fault(Cut(50_000))
    assert await fetch(site, TARGET) == data.read()
    site.origin.fault(Cut(50_000))
    gate = site.origin.hold(KEY, after=50_000)
    async with download(site, TARGET) as got:
        begin = await got.read(40_000)
        put_new(site, 2)
        gate.release()
        begin += await got.cut()
    assert begin == data.read(0, 50_000)


async def test_warm_says_to_ask_again(site: Site) -> None:
    put_new(site)

    async def warm() -> str:
        body = b'{"objects": [{"key": "' + KEY.encode() + b'"}]}'
        async with site.connect(site.server.admin_url) as wire:
            head = f"POST /api/warm HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            await wire.send(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            reply = await wire.reply("POST")
        result: str = json.loads(reply.body)["objects"][0]["result"]
        return result

    assert await warm() == "more"
    site.clock.advance(10)
    assert await warm() == "stored"
