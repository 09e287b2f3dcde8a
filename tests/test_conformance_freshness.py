"""Freshness, revalidation and negative caching, RFC 9111 §3, §4, RFC 9213, through a socket and on
a fake clock. Names are http-tests/cache-tests ids where they have one."""

import pytest

from tests import serving
from tests.faults import Bare, Error, Fields, Reset
from tests.s3 import StoredObject
from tests.serving import SLICE, Reply, Serve, Site

serve = serving.serve
site = serving.site

PATH = "/outputs/a.png"
KEY = "outputs/a.png"
DATA = b"0123456789" * 10_000
FUTURE = "Thu, 01 Jan 2099 00:00:00 GMT"
PAST = "Sat, 01 Jan 2000 00:00:00 GMT"


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


# How long (the route's ttl is an hour, where the origin is silent)


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        pytest.param({}, 3600, id="the-route's-ttl"),
        pytest.param({"cache_control": "public"}, 3600, id="public-is-no-lifetime"),
        pytest.param({"cache_control": "max-age=60"}, 60, id="freshness-max-age"),
        pytest.param({"cache_control": 'max-age="60"'}, 60, id="freshness-max-age-quoted"),
        pytest.param({"cache_control": "MaX-aGe=60"}, 60, id="freshness-max-age-case-insenstive"),
        pytest.param({"cache_control": "foobar, max-age=60"}, 60, id="freshness-max-age-extension"),
        pytest.param({"cache_control": "s-maxage=60"}, 60, id="freshness-s-maxage-shared"),
        pytest.param(
            {"cache_control": "max-age=9, s-maxage=60"},
            60,
            id="freshness-max-age-s-maxage-shared-shorter",
        ),
        pytest.param(
            {"cache_control": "s-maxage=60, max-age=3600"},
            60,
            id="freshness-max-age-s-maxage-shared-longer-reversed",
        ),
        pytest.param(
            {"cache_control": "max-age=60", "expires": PAST}, 60, id="freshness-max-age-expires"
        ),
        pytest.param(
            {"cache_control": "max-age=60", "expires": "0"},
            60,
            id="freshness-max-age-expires-invalid",
        ),
        pytest.param(
            {"cache_control": "max-age=60, must-revalidate"}, 60, id="cc-resp-must-revalidate-fresh"
        ),
        pytest.param({"cache_control": "max-age=90", "age": "30"}, 60, id="freshness-max-age-age"),
        pytest.param({"cdn_cache_control": "max-age=60"}, 60, id="cdn-max-age"),
        pytest.param(
            {"cdn_cache_control": "max-age=60", "cache_control": "max-age=9"},
            60,
            id="cdn-max-age-short-cc-max-age",
        ),
        pytest.param(
            {"cdn_cache_control": "max-age=60", "cache_control": "max-age=3600"},
            60,
            id="cdn-max-age-long-cc-max-age",
        ),
        pytest.param(
            {"cdn_cache_control": "max-age=60", "cache_control": "no-store"},
            60,
            id="cdn-fresh-cc-nostore",
        ),
        pytest.param(
            {"cdn_cache_control": "max-age=60", "expires": PAST}, 60, id="cdn-max-age-expires"
        ),
        pytest.param(
            {"cdn_cache_control": 'max-age="9"', "cache_control": "max-age=60"},
            60,
            id="cdn-cc-invalid-sh-type-wrong",
        ),
        pytest.param({"pragma": "no-cache"}, 3600, id="pragma-response-no-cache-heuristic"),
    ],
)
async def test_a_response_is_reused_as_long_as_it_is_fresh(
    serve: Serve, fields: dict[str, str], lifetime: int
) -> None:
    for seconds, reused in ((lifetime - 1, True), (lifetime, False)):
        async with serve() as site:
            put(site, **fields)
            assert await is_reused_after(site, seconds) is reused


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"cache_control": "max-age=0"}, id="freshness-max-age-0"),
        pytest.param({"cache_control": "max-age=a100"}, id="freshness-max-age-a100"),
        pytest.param({"cache_control": "max-age=-100"}, id="freshness-max-age-negative"),
        pytest.param({"cache_control": "max-age= 100"}, id="freshness-max-age-space-after-equals"),
        pytest.param(
            {"cache_control": "max-age=0", "expires": FUTURE}, id="freshness-max-age-0-expires"
        ),
        pytest.param({"cache_control": "max-age=10", "age": "15"}, id="freshness-max-age-age"),
        pytest.param({"cdn_cache_control": "max-age=60", "age": "7200"}, id="cdn-max-age-age"),
        pytest.param({"cdn_cache_control": "max-age=0"}, id="cdn-max-age-0"),
        pytest.param(
            {"cdn_cache_control": "no-cache", "cache_control": "max-age=60"}, id="cdn-no-cache"
        ),
        pytest.param({"cache_control": "max-age=60, no-cache"}, id="cc-resp-no-cache"),
        pytest.param(
            {"cache_control": "max-age=60, No-CaChE"}, id="cc-resp-no-cache-case-insensitive"
        ),
        pytest.param({"expires": PAST}, id="freshness-expires-past"),
        pytest.param({"expires": "0"}, id="freshness-expires-invalid"),
    ],
)
async def test_a_response_is_revalidated_each_time(site: Site, fields: dict[str, str]) -> None:
    stored = put(site, **fields)
    assert not await is_reused_after(site, 0)
    (request,) = site.origin.requests  # cc-resp-no-cache-revalidate: stored all the same
    assert request.header("if-none-match") == f'"{stored.etag}"'
    assert (request.status, request.sent) == (304, 0)


async def test_expires_counts_from_the_origins_date(site: Site) -> None:
    """freshness-expires-future, with an origin whose clock is a day slow."""
    put(site, expires="Sun, 15 Jun 2025 15:07:40 GMT")  # a minute after the fake clock's start
    assert await is_reused_after(site, 59)
    assert not await is_reused_after(site, 1)


# What is not stored


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"cache_control": "no-store"}, id="cc-resp-no-store"),
        pytest.param({"cache_control": "No-StOrE"}, id="cc-resp-no-store-case-insensitive"),
        pytest.param(
            {"cache_control": "max-age=10000, no-store", "expires": FUTURE},
            id="cc-resp-no-store-fresh",
        ),
        pytest.param({"cache_control": "private, max-age=3600"}, id="cc-resp-private-shared"),
        pytest.param(
            {"cdn_cache_control": "private", "cache_control": "max-age=60"}, id="cdn-private"
        ),
        pytest.param(
            {"cdn_cache_control": "no-store", "cache_control": "max-age=60"},
            id="cdn-no-store-cc-fresh",
        ),
        pytest.param({"vary": "*"}, id="vary-star"),
        pytest.param({"vary": "User-Agent"}, id="vary-omit"),
    ],
)
async def test_what_may_not_be_stored_is_passed_through(site: Site, fields: dict[str, str]) -> None:
    put(site, **fields)
    for expected in (DATA, DATA, b"changed"):
        put(site, expected, **fields)
        reply = await fetch(site)
        assert reply.body == expected
        assert "fwd=bypass" in reply.cache_status
        part = await fetch(site, 206, Range="bytes=2-4")
        assert part.body == expected[2:5]
        assert part.headers["Content-Range"] == f"bytes 2-4/{len(expected)}"
    assert await site.metric("cache_slices") == 0


@pytest.mark.parametrize("vary", ["Origin", "Accept-Encoding", "Origin, Accept-Encoding"])
async def test_vary_on_what_is_always_the_same_upstream_is_stored(site: Site, vary: str) -> None:
    put(site, vary=vary)
    assert await is_reused_after(site, 60)


async def test_one_answer_that_may_not_be_stored_ends_the_reuse(site: Site) -> None:
    """cc-resp-no-store-old-new: the old one was replaced, and is not used in its place."""
    put(site)
    await fetch(site)
    put(site, b"private", cache_control="no-store")
    site.clock.advance(3600)
    for _ in range(2):
        assert (await fetch(site)).body == b"private"


async def test_what_was_not_stored_may_be_stored_later(site: Site) -> None:
    put(site, cache_control="no-store")
    await fetch(site)
    put(site)
    site.clock.advance(61)
    await fetch(site)
    site.origin.reset()
    assert (await fetch(site)).cache_status.startswith("edgecache; hit")
    assert site.origin.requests == []


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
    """RUNPOD.md 1.6: whether RunPod knows conditions is not known."""
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


async def test_an_unasked_304_is_an_error(site: Site) -> None:
    put(site)
    site.origin.fault(Bare(304))
    assert (await fetch(site, 502)).headers["Cache-Control"] == "no-store"


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


@pytest.mark.xfail(strict=True, reason="errors always say fwd=miss")
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
    site.origin.fault(Error(status, fields={"Cache-Control": "max-age=3600"}), times=2)
    for _ in range(2):
        assert (await site.get(PATH)).status in (502, 503, 504)
    assert len(site.origin.requests) == 2
    assert (await fetch(site)).body == DATA


@pytest.mark.parametrize("action", [Error(500), Error(503), Reset()], ids=str)
async def test_an_error_while_revalidating_keeps_what_is_stored(
    site: Site, action: Error | Reset
) -> None:
    """The answer is an error (nothing is served stale yet), but no slice is lost by it."""
    await stale(site)
    site.origin.fault(action, times=2)  # a connection that dies when it is reused is tried again
    assert (await site.get(PATH)).status in (502, 503)
    site.origin.faults.clear()
    site.origin.reset()
    assert (await fetch(site)).cache_status.startswith("edgecache; fwd=stale; fwd-status=304")
    assert site.origin.body_bytes == 0


# Age and Date


async def test_age_advances(site: Site) -> None:
    """other-age-gen, other-date-update"""
    put(site)
    first = await fetch(site)
    assert first.headers["Age"] == "0"
    site.clock.advance(42.9)
    reply = await fetch(site)
    assert reply.headers["Age"] == "42"
    assert reply.cache_status == "edgecache; hit; ttl=3557"
    assert reply.headers["Date"] == first.headers["Date"]


async def test_age_counts_what_came_before(site: Site) -> None:
    """other-age-update-max-age"""
    put(site, cache_control="max-age=600", age="30")
    assert (await fetch(site)).headers.getall("Age") == ["30"]
    site.clock.advance(5)
    assert (await fetch(site)).headers.getall("Age") == ["35"]


async def test_a_304_makes_it_young_again(site: Site) -> None:
    put(site, age="30")
    await fetch(site)
    site.clock.advance(4000)
    put(site)
    assert (await fetch(site)).headers["Age"] == "0"


@pytest.mark.parametrize("value", ["abc", "-7200", "7200.0", "1" * 400])
async def test_an_age_that_is_none_is_ignored(site: Site, value: str) -> None:
    """age-parse-nonnumeric, -negative, -float"""
    put(site, cache_control="max-age=3600", age=value)
    await fetch(site)
    reply = await fetch(site)
    assert 0 <= int(reply.headers["Age"]) <= 2**31


async def test_what_a_client_says_of_caching_costs_nothing(site: Site) -> None:
    """ccreq-*, pragma-request-*: a reload is no reason to ask the origin (RUNPOD.md 4, 15)."""
    put(site)
    await fetch(site)
    site.origin.reset()
    for value in ("no-cache", "max-age=0", "no-store", "min-fresh=99999", "only-if-cached"):
        reply = await fetch(site, Cache_Control=value, Pragma="no-cache")
        assert reply.cache_status.startswith("edgecache; hit")
    assert site.origin.requests == []


async def test_a_lie_about_the_version_is_noticed(site: Site) -> None:
    """The same ETag with another length is another version (RELIABILITY.md U16)."""
    await stale(site)
    site.origin.put(KEY, DATA + b"more", etag=str(hash(DATA)))
    site.origin.quirks.ignore_conditionals = True
    assert (await fetch(site)).body == DATA + b"more"


async def test_no_date_from_the_origin(site: Site) -> None:
    put(site, cache_control="max-age=60")
    site.origin.fault(Fields({"Date": None}), times=None)
    assert await is_reused_after(site, 59)
    assert (await fetch(site)).headers["Date"] == "Sun, 15 Jun 2025 15:06:40 GMT"
