"""Cache-Status is true (RFC 9211), for each way a request can be answered, through a socket."""

import asyncio
import re

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Site
from tests.waiting import PATIENCE, until

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.png"
KEY = "outputs/a.png"
DATA = b"0123456789"
LONG = Pattern(4 * SLICE, seed=3)
LONG_PATH, LONG_KEY = "/outputs/v.mp4", "outputs/v.mp4"


async def ask(site: Site, range_: str = "", path: str = LONG_PATH) -> str:
    reply = await site.get(path, {"Range": range_} if range_ else {})
    assert reply.status in (200, 206)
    await site.idle()
    return reply.cache_status


async def test_cache_status_of_a_miss_and_a_hit(site: Site) -> None:
    site.origin.put(KEY, DATA)
    first = await ask(site, path=PATH)
    assert first == "edgecache; fwd=uri-miss; fwd-status=206; stored; ttl=3600"
    assert await ask(site, path=PATH) == "edgecache; hit; ttl=3600"


async def test_cache_status_of_a_cold_object_of_many_slices(site: Site) -> None:
    """Nothing of it was there, so it is not partial, however fast the origin was."""
    site.origin.put(LONG_KEY, LONG)
    assert await ask(site) == "edgecache; fwd=uri-miss; fwd-status=206; stored; ttl=3600"
    assert await site.metric("http_requests_total", result="miss") == 1


async def test_cache_status_of_a_partial_hit(site: Site) -> None:
    site.origin.put(LONG_KEY, LONG)
    await ask(site, f"bytes=0-{SLICE - 1}")
    partial = await ask(site, f"bytes=0-{3 * SLICE - 1}")
    assert partial == 'edgecache; fwd=partial; stored; ttl=3600; detail="1/3 slices"'
    assert await site.metric("http_requests_total", result="partial") == 1


async def test_cache_status_of_another_part(site: Site) -> None:
    """The object is known, its slice is not: a miss, but no uri-miss."""
    site.origin.put(LONG_KEY, LONG)
    await ask(site, f"bytes=0-{SLICE - 1}")
    other = await ask(site, f"bytes={2 * SLICE}-{3 * SLICE - 1}")
    assert other == "edgecache; fwd=miss; stored; ttl=3600"


async def test_cache_status_of_a_revalidation(site: Site) -> None:
    site.origin.put(LONG_KEY, LONG)
    await ask(site)
    site.clock.advance(3600)
    assert await ask(site) == "edgecache; fwd=stale; fwd-status=304; ttl=3600"
    assert await site.metric("http_requests_total", result="revalidated") == 1


async def test_cache_status_of_what_is_passed_through(site: Site) -> None:
    site.origin.put(KEY, DATA, headers={"Cache-Control": "private"})
    assert await ask(site, path=PATH) == "edgecache; fwd=bypass; fwd-status=200"
    assert await ask(site, "bytes=0-1", PATH) == "edgecache; fwd=bypass; fwd-status=206"


async def test_cache_status_of_a_negative_hit(site: Site) -> None:
    await site.get(PATH)
    assert (await site.get(PATH)).cache_status == 'edgecache; hit; detail="negative"'


async def test_cache_status_when_nobody_was_asked(site: Site) -> None:
    for target in ("/models/x", "/outputs//x"):
        assert "Cache-Status" not in (await site.get(target)).headers


async def collapse(site: Site, count: int) -> list[Reply]:
    gate = site.origin.hold()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        leader = group.create_task(site.get(LONG_PATH))
        await gate.reached.wait()
        followers = [group.create_task(site.get(LONG_PATH)) for _ in range(count)]
        await until(lambda: site.in_flight > count)
        await site.looked_up()
        gate.release()
    return [leader.result(), *(one.result() for one in followers)]


async def test_collapse_basic(site: Site) -> None:
    """Cold: one leads, the others share its answer and say so."""
    site.origin.put(LONG_KEY, LONG)
    leader, *followers = await collapse(site, 9)
    assert all(reply.body == LONG.read() for reply in (leader, *followers))
    assert leader.cache_status.startswith("edgecache; fwd=uri-miss; fwd-status=206; stored")
    assert "collapsed" not in leader.cache_status
    for follower in followers:  # some may come when it is known already: they join its fill
        assert re.match(
            r"edgecache; fwd=(uri-miss; fwd-status=206|miss|partial); stored; collapsed; ",
            follower.cache_status,
        )
    await site.idle()
    assert site.origin.body_bytes == LONG.length
    assert await site.metric("coalesced_requests_total") == 9


async def test_collapse_of_errors(site: Site) -> None:
    replies = await collapse(site, 9)
    assert [reply.status for reply in replies] == [404] * 10
    assert len(site.origin.requests) == 1


async def test_collapse_of_revalidations(site: Site) -> None:
    site.origin.put(LONG_KEY, LONG)
    await ask(site)
    site.clock.advance(3600)
    site.origin.reset()
    leader, *followers = await collapse(site, 9)
    assert leader.cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=3600"
    for follower in followers:
        assert follower.cache_status == (
            "edgecache; fwd=stale; fwd-status=304; collapsed; ttl=3600"
        )
    assert len(site.origin.requests) == 1


async def test_a_reader_of_a_running_fill_is_collapsed(site: Site) -> None:
    """It is known, its bytes are on their way for another: nobody asks the origin for it."""
    site.origin.put(LONG_KEY, LONG)
    await ask(site, "bytes=0-0")
    site.origin.reset()
    gate = site.origin.hold(after=10)
    range_ = {"Range": f"bytes={SLICE}-{2 * SLICE - 1}"}
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        leader = group.create_task(site.get(LONG_PATH, range_))
        await gate.reached.wait()
        follower = group.create_task(site.get(LONG_PATH, range_))
        await until(lambda: site.in_flight > 1)
        gate.release()
    assert leader.result().body == follower.result().body == LONG.read(SLICE, 2 * SLICE)
    assert len(site.origin.requests) == 1
    assert "; collapsed" not in leader.result().cache_status
    assert "; collapsed" in follower.result().cache_status


@pytest.mark.parametrize("length", [SLICE + 10, 2 * SLICE, 3 * SLICE + 10, 4 * SLICE])
async def test_a_first_run_is_read_to_its_end(site: Site, length: int) -> None:
    """A whole image is one request, though the origin may answer before a reader is there."""
    site.origin.put(KEY, Pattern(length))
    assert (await site.get(PATH)).body == Pattern(length).read()
    await site.idle()
    assert site.origin.asked(KEY) == [f"bytes=0-{4 * SLICE - 1}"]
