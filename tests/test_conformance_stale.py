"""Stale answers while the origin is asked (RFC 5861 §3): in every form that a server has that may
differ in it."""

import pytest

from tests import serving, staleness
from tests.faults import Error
from tests.serving import SLICE, Serve, Site, gather
from tests.staleness import (
    BEHIND,
    DATA,
    FIRST_SLICE,
    KEY,
    LIFETIME,
    ONCE,
    PATH,
    SETTINGS,
    ask,
    asked,
    assert_whole,
    decided_once,
    is_stale,
    known,
    on_every_path,
    tell,
)

serve = staleness.serve
site = staleness.site


# While the origin is asked


@on_every_path
async def test_a_stale_object_is_answered_at_once_and_revalidated_behind(site: Site) -> None:
    await known(site, 12)
    gate = site.origin.hold()
    reply = await site.get(PATH)  # though the origin says nothing yet
    assert_whole(reply)
    assert reply.cache_status == 'edgecache; hit; ttl=-12; detail="stale-while-revalidate"'
    assert reply.headers["Age"] == "72"
    gate.release()
    await site.idle()
    (request,) = site.origin.requests
    assert (request.status, request.range, request.sent) == (304, "bytes=0-0", 0)
    assert (await ask(site)).cache_status == "edgecache; hit; ttl=60"
    assert asked(site) == 1
    assert await site.metric("http_requests_total", result="stale") == 1
    assert await site.metric("origin_body_bytes_total", reason="demand") == DATA.length


async def test_a_hundred_clients_one_revalidation(site: Site) -> None:
    """None of them waits for it, and it outlives them all."""
    await known(site, 1)
    gate = site.origin.hold()
    replies = await gather(*(site.get(PATH) for _ in range(100)))
    for reply in replies:
        assert_whole(reply)
        assert is_stale(reply)
    assert asked(site) == 1
    gate.release()
    await site.idle()
    assert not is_stale(await ask(site))
    assert asked(site) == 1


async def test_an_object_that_was_replaced_is_new_at_the_next_request(site: Site) -> None:
    await known(site, 1)
    site.origin.put(KEY, b"another", etag="two")
    assert_whole(await ask(site))
    reply = await ask(site)
    assert (reply.body, reply.headers["ETag"]) == (b"another", '"two"')


async def test_an_object_that_is_gone_is_404_at_the_next_request(site: Site) -> None:
    await known(site, 1)
    site.origin.remove(KEY)
    assert_whole(await ask(site))
    assert (await ask(site)).status == 404


async def test_what_is_missing_waits_for_the_origin(site: Site) -> None:
    site.origin.put(KEY, DATA, etag="one")
    await ask(site, FIRST_SLICE)
    site.clock.advance(LIFETIME + 1)
    reply = await ask(site)
    assert_whole(reply)
    assert not is_stale(reply)
    site.clock.advance(LIFETIME + 1)
    assert is_stale(await ask(site))


@on_every_path
async def test_what_is_stale_too_long_waits_for_the_origin(site: Site) -> None:
    await known(site, BEHIND)
    assert (await ask(site)).cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=60"


async def test_a_failed_revalidation_is_not_tried_again_at_each_request(site: Site) -> None:
    await known(site, 1)
    site.origin.fault(Error(500), times=None)
    for seconds in (0, 0.4, 0.5):
        site.clock.advance(seconds)
        for _ in range(4):
            assert_whole(await ask(site))
    assert asked(site) == 1
    site.clock.advance(0.1)  # a second after the failure
    assert_whole(await ask(site))
    assert asked(site) == 2


async def test_warming_revalidates_first(site: Site) -> None:
    await known(site, 1)
    (warmed,) = (await tell(site, "/api/warm", {"objects": [{"key": KEY}]}))["objects"]
    assert warmed["result"] == "revalidated"
    assert not is_stale(await ask(site))


async def test_the_access_log_says_so(serve: Serve) -> None:
    async with serve(freshness=SETTINGS, fetch=ONCE) as site:
        await known(site, 1)
        await ask(site)
    assert site.access_entries()[-1]["result"] == "stale"


# Every request gets what it would get of a fresh object

REQUESTS = {
    "whole": ("GET", {}),
    "head": ("HEAD", {}),
    "range": ("GET", {"Range": "bytes=5-70000"}),
    "suffix": ("GET", {"Range": "bytes=-9"}),
    "unsatisfiable": ("GET", {"Range": "bytes=999999-"}),
    "not modified": ("GET", {"If-None-Match": '"one"'}),
    "head not modified": ("HEAD", {"If-None-Match": '"one"'}),
    "if-range": ("GET", {"Range": "bytes=0-9", "If-Range": '"one"'}),
    "precondition": ("GET", {"If-Match": '"two"'}),
}


@pytest.mark.parametrize("serve", ["memory", "workers"], indirect=True)
@pytest.mark.parametrize("past", [5, 300])
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_stale_answer_is_that_of_a_fresh_one(site: Site, name: str, past: float) -> None:
    method, headers = REQUESTS[name]
    await known(site, -1)
    fresh = await ask(site, headers, method)
    assert fresh.cache_status.startswith("edgecache; hit")
    site.clock.advance(1 + past)
    site.origin.fault(Error(500), times=None)
    stale = await ask(site, headers, method)
    assert is_stale(stale)
    assert (stale.status, stale.body) == (fresh.status, fresh.body)
    for reply in (fresh, stale):
        del reply.headers["Age"], reply.headers["Cache-Status"]
    assert stale.headers == fresh.headers


async def test_several_ranges(site: Site) -> None:
    await known(site, 300)
    site.origin.fault(Error(500), times=None)
    reply = await ask(site, {"Range": f"bytes=0-9, {SLICE}-{SLICE + 9}"})
    assert reply.status == 206
    assert DATA.read(0, 10) in reply.body
    assert DATA.read(SLICE, SLICE + 10) in reply.body
    assert is_stale(reply)


# The origin decides


@decided_once
@pytest.mark.parametrize(
    ("cache_control", "cdn", "past", "stale"),
    [
        ("max-age=60", "", 29, True),
        ("max-age=60", "", 31, False),
        ("max-age=60, stale-while-revalidate=5", "", 4, True),
        ("max-age=60, stale-while-revalidate=5", "", 6, False),
        ("max-age=60, stale-while-revalidate=100", "", 99, True),
        ("max-age=60, stale-while-revalidate", "", 1, False),
        ("max-age=9, stale-while-revalidate=0", "max-age=60, stale-while-revalidate=50", 49, True),
        ("max-age=9, must-revalidate", "max-age=60", 29, True),
        ("max-age=60, stale-while-revalidate=50", "max-age=60, must-revalidate", 1, False),
        ("max-age=60, must-revalidate, stale-while-revalidate=50", "", 1, False),
        ("max-age=60, proxy-revalidate, stale-while-revalidate=50", "", 1, False),
        ("s-maxage=60, stale-while-revalidate=50", "", 1, False),
        ("max-age=60, no-cache, stale-while-revalidate=50", "", -50, False),
        ("max-age=0", "", -50, False),
        ("max-age=0, stale-while-revalidate=50", "", -11, True),
    ],
)
async def test_whether_it_is_used_while_it_is_revalidated(
    site: Site, cache_control: str, cdn: str, past: float, stale: bool
) -> None:
    await known(site, past, cache_control, **({"CDN-Cache-Control": cdn} if cdn else {}))
    reply = await ask(site)
    assert_whole(reply)
    assert ("stale-while-revalidate" in reply.cache_status) is stale
    assert asked(site) == 1


@decided_once
@pytest.mark.parametrize(
    ("cache_control", "cdn", "past", "stale"),
    [
        ("max-age=60", "", 599, True),
        ("max-age=60, stale-if-error=100", "", 99, True),
        ("max-age=60, stale-if-error=100", "", 101, False),
        ("max-age=60, stale-if-error=0", "", 31, False),
        ("max-age=60, stale-if-error=0", "max-age=60, stale-if-error=50", 49, True),
        ("max-age=0", "", 500, True),
        ("max-age=60, must-revalidate, stale-if-error=999", "", 1, False),
        ("max-age=60, proxy-revalidate", "", 1, False),
        ("s-maxage=60", "", 1, False),
        ("no-cache", "", 1, False),
    ],
)
async def test_whether_it_is_used_if_the_origin_fails(
    site: Site, cache_control: str, cdn: str, past: float, stale: bool
) -> None:
    await known(site, past, cache_control, **({"CDN-Cache-Control": cdn} if cdn else {}))
    site.origin.fault(Error(500), times=None)
    reply = await ask(site)
    assert reply.status == (200 if stale else 502)
    assert is_stale(reply) is stale


async def test_windows_may_be_switched_off(serve: Serve) -> None:
    off = SETTINGS | {"stale_while_revalidate": 0, "stale_if_error": 0}
    async with serve(freshness=off, fetch=ONCE) as site:
        await known(site, 1)
        site.origin.fault(Error(500), times=None)
        assert (await ask(site)).status == 502


# A client that leaves


async def test_a_client_that_leaves_ends_no_revalidation(site: Site) -> None:
    await known(site, 300)
    gate = site.origin.hold()
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", PATH))
        await gate.reached.wait()
    gate.release()
    await site.idle()
    assert (await ask(site)).cache_status == "edgecache; hit; ttl=60"
    assert asked(site) == 1
