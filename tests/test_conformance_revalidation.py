"""Revalidation (RFC 9111 §4.3) and what the origin's errors do to what is stored, through a socket
and on a fake clock. Names are http-tests/cache-tests ids where they have one."""

import asyncio

import pytest

from tests import serving
from tests.faults import Bare, Error, Reset
from tests.s3 import StoredObject
from tests.serving import SLICE, Reply, Serve, Site
from tests.waiting import PATIENCE

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.png"
KEY = "outputs/a.png"
DATA = b"0123456789" * 10_000


def put(site: Site, data: bytes = DATA, /, **fields: str) -> StoredObject:
    """With these response fields: `cache_control` is Cache-Control."""
    headers = {name.replace("_", "-").title(): value for name, value in fields.items()}
    return site.origin.put(KEY, data, headers=headers, etag=str(hash(data)))


async def fetch(site: Site, status: int = 200, **headers: str) -> Reply:
    reply = await site.get(PATH, {n.replace("_", "-"): v for n, v in headers.items()})
    assert reply.status == status
    await site.idle()
    return reply


async def is_reused_after(site: Site, seconds: float) -> bool:
    """Whether the origin is not asked, `seconds` after the first answer."""
    await fetch(site)
    site.origin.reset()
    site.clock.advance(seconds)
    reply = await fetch(site)
    assert reply.body == DATA
    reused = not site.origin.requests
    assert reused == reply.cache_status.startswith("edgecache; hit")
    return reused


# Revalidation: one conditional GET


async def stale(site: Site, **fields: str) -> None:
    put(site, **fields)
    await fetch(site)
    site.clock.advance(3600)
    site.origin.reset()


async def test_a_304_freshens(site: Site) -> None:
    await stale(site)
    reply = await fetch(site)
    assert reply.cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=3600"
    (request,) = site.origin.requests  # conditional-etag-strong-generate
    assert (request.status, request.range) == (304, "bytes=0-0")
    assert await is_reused_after(site, 3599)


async def test_a_206_of_the_same_version_freshens(site: Site) -> None:
    """Whether RunPod knows conditions is not known."""
    await stale(site)
    site.origin.quirks.ignore_conditionals = True
    reply = await fetch(site)
    assert reply.body == DATA
    assert reply.cache_status.startswith("edgecache; fwd=stale; fwd-status=206")
    (request,) = site.origin.requests
    assert (request.range, request.sent) == ("bytes=0-0", 1)
    assert await is_reused_after(site, 3599)


async def test_a_200_of_the_same_version_freshens(site: Site) -> None:
    await stale(site)
    site.origin.quirks.ignore_conditionals = site.origin.quirks.ignore_range = True
    reply = await fetch(site)
    assert reply.body == DATA
    assert reply.cache_status.startswith("edgecache; fwd=stale; fwd-status=200")
    assert len(site.origin.requests) == 1
    assert await is_reused_after(site, 3599)


async def test_a_changed_object_replaces_the_stored_one(site: Site) -> None:
    await stale(site)
    changed = put(site, b"changed").etag
    reply = await fetch(site)
    assert (reply.body, reply.headers["ETag"]) == (b"changed", f'"{changed}"')
    assert reply.cache_status.startswith("edgecache; fwd=stale; fwd-status=206; stored")
    assert (await fetch(site)).body == b"changed"
    assert await site.metric("version_changes_total") == 1


async def test_a_revalidation_brings_the_bytes_that_are_missing(site: Site) -> None:
    put(site)
    await fetch(site, 206, Range="bytes=0-9")
    site.clock.advance(3600)
    put(site, DATA[::-1])
    site.origin.reset()
    reply = await fetch(site, 206, Range=f"bytes={SLICE}-{SLICE + 9}")
    assert reply.body == DATA[::-1][SLICE : SLICE + 10]
    assert len(site.origin.requests) == 1


async def test_a_head_revalidates_too(site: Site) -> None:
    """cache-tests head-200-freshness-update, by a GET upstream."""
    await stale(site)
    reply = await site.head(PATH)
    assert (reply.status, reply.headers["Content-Length"]) == (200, str(len(DATA)))
    assert [request.method for request in site.origin.requests] == ["GET"]
    assert await is_reused_after(site, 3599)


async def test_conditional_lm_stale(site: Site) -> None:
    await stale(site)
    modified = site.origin.objects[KEY].last_modified
    assert modified == 1_700_000_001
    reply = await fetch(site, 304, If_Modified_Since="Tue, 14 Nov 2023 22:13:21 GMT")
    assert reply.cache_status.startswith("edgecache; fwd=stale; fwd-status=304")


@pytest.mark.parametrize("name", ["Test-Header", "X-Frame-Options", "Content-Location"])
async def test_a_304_updates_fields(site: Site, name: str) -> None:
    """304-etag-update-response-*, 304-etag-update-stored-*, 304-lm-use-stored-*"""
    put(site, **{name.replace("-", "_"): "/a"})
    assert (await fetch(site)).headers[name] == "/a"
    site.clock.advance(3600)
    put(site)
    assert (await fetch(site)).headers[name] == "/a"
    site.clock.advance(3600)
    put(site, **{name.replace("-", "_"): "/b"})
    for _ in range(2):
        assert (await fetch(site)).headers[name] == "/b"


async def test_a_304_updates_the_lifetime(site: Site) -> None:
    """304-etag-update-stored-Cache-Control"""
    await stale(site, cache_control="max-age=1")
    put(site, cache_control="max-age=7200")
    assert (await fetch(site)).headers["Cache-Control"] == "max-age=7200"
    assert await is_reused_after(site, 7199)


async def test_a_304_that_forbids_storing_is_obeyed(site: Site) -> None:
    await stale(site)
    put(site, cache_control="no-store")
    assert (await fetch(site)).body == DATA
    assert "fwd=bypass" in (await fetch(site)).cache_status


async def test_a_304_of_another_version_freshens_nothing(site: Site) -> None:
    """RFC 9111 §4.3.4: its strong validator is not the stored one's."""
    await stale(site)
    put(site, DATA[::-1])
    site.origin.fault(Bare(304))  # with the ETag of what is there by now
    reply = await fetch(site)
    assert reply.body == DATA[::-1]
    assert [one.header("if-none-match") is None for one in site.origin.requests[:2]] == [0, 1]
    assert site.origin.requests[0].range == site.origin.requests[1].range == "bytes=0-0"
    assert (await fetch(site)).cache_status.startswith("edgecache; hit")


async def test_nor_does_it_again_if_the_origin_stays_with_it(site: Site) -> None:
    await stale(site)
    put(site, DATA[::-1])
    site.origin.fault(Bare(304), times=None)
    await fetch(site, 502)
    assert len(site.origin.requests) == 2


async def test_an_unasked_304_is_an_error(site: Site) -> None:
    put(site)
    site.origin.fault(Bare(304))
    assert (await fetch(site, 502)).headers["Cache-Control"] == "no-store"


async def test_a_lie_about_the_version_is_noticed(site: Site) -> None:
    """The same ETag with another length is another version."""
    await stale(site)
    site.origin.put(KEY, DATA + b"more", etag=str(hash(DATA)))
    site.origin.quirks.ignore_conditionals = True
    assert (await fetch(site)).body == DATA + b"more"


# 404 is remembered for freshness.negative_ttl, errors never


async def test_a_404_is_remembered_for_a_short_time(site: Site) -> None:
    first = await fetch(site, 404)
    assert first.cache_status in (  # RFC 9211 §2.2 leaves it to us to tell them apart
        "edgecache; fwd=miss; fwd-status=404",
        "edgecache; fwd=uri-miss; fwd-status=404",
    )
    for method in ("GET", "HEAD"):
        again = await site.request(method, PATH, {"Range": "bytes=0-1"})
        assert again.status == 404
        assert again.cache_status == 'edgecache; hit; detail="negative"'
    assert len(site.origin.requests) == 1
    put(site)
    site.clock.advance(9.9)
    await fetch(site, 404)
    site.clock.advance(0.1)
    assert (await fetch(site)).body == DATA


async def test_negative_caching_can_be_switched_off(serve: Serve) -> None:
    async with serve(freshness={"negative_ttl": 0}) as site:
        await fetch(site, 404)
        await fetch(site, 404)
        assert len(site.origin.requests) == 2


async def test_a_404_that_says_no_store_is_not_remembered(site: Site) -> None:
    site.origin.fault(Error(404, "NoSuchKey", fields={"Cache-Control": "no-store"}), times=1)
    await fetch(site, 404)
    put(site)
    assert (await fetch(site)).body == DATA


async def test_an_object_that_vanished_is_404(site: Site) -> None:
    await stale(site)
    site.origin.remove(KEY)
    reply = await fetch(site, 404)
    assert reply.cache_status == "edgecache; fwd=stale; fwd-status=404"
    put(site, b"back")
    site.clock.advance(10)
    assert (await fetch(site)).body == b"back"


@pytest.mark.parametrize("status", [403, 500, 502, 503, 504])
async def test_errors_are_never_stored(site: Site, status: int) -> None:
    """heuristic-5xx-not_cached, and status-5xx with explicit freshness: S3's are never meant."""
    put(site)
    site.origin.fault(Error(status, fields={"Cache-Control": "max-age=3600"}), times=None)
    for _ in range(2):
        site.origin.reset()
        assert (await site.get(PATH)).status in (502, 503, 504)
        assert site.origin.requests
    site.origin.faults.clear()
    assert (await fetch(site)).body == DATA


@pytest.mark.parametrize("action", [Error(500), Error(503), Reset()], ids=str)
async def test_an_error_while_revalidating_keeps_what_is_stored(
    site: Site, action: Error | Reset
) -> None:
    """The answer is an error, where it may not be served stale, but no slice is lost by it."""
    await stale(site)
    site.origin.fault(action, times=None)
    assert (await site.get(PATH)).status in (502, 503)
    site.origin.faults.clear()
    site.origin.reset()
    assert (await fetch(site)).cache_status.startswith("edgecache; fwd=stale; fwd-status=304")
    assert site.origin.body_bytes == 0


# An object that changes between the first look at it and its bytes


async def test_a_change_before_the_first_byte_starts_again(site: Site) -> None:
    """A suffix needs the length first, so its bytes are asked for later: of the new version."""
    put(site)
    site.origin.change_after(KEY, 1, b"the new one")
    reply = await fetch(site, 206, Range="bytes=-3")
    assert reply.body == b"one"
    assert reply.headers["Content-Range"] == "bytes 8-10/11"
    assert (await fetch(site)).body == b"the new one"


async def test_an_object_that_never_keeps_still_is_502(site: Site) -> None:
    put(site)
    for n in range(12):
        site.origin.change_after(KEY, 1, DATA + b"x" * n)
    reply = await fetch(site, 502, Range="bytes=-3")
    assert reply.body == b"the object is replaced faster than it can be read\n"
    async with asyncio.timeout(PATIENCE):
        while (await site.get(PATH, {"Range": "bytes=-3"})).status != 206:
            pass  # until it does


async def test_an_origin_that_refuses_every_range_and_none(site: Site) -> None:
    put(site)
    site.origin.fault(Error(416, "InvalidRange"), times=None)
    for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=-5"}, {"Range": "bytes=99-"}):
        assert (await site.get(PATH, headers)).status == 502
        assert len(site.origin.requests) <= 12
