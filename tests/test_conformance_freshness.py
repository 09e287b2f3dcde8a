"""Freshness, revalidation and negative caching, RFC 9111 §3, §4, RFC 9213, through a socket and on
a fake clock. Names are http-tests/cache-tests ids where they have one."""

import pytest

from tests import serving
from tests.faults import Fields
from tests.s3 import StoredObject
from tests.serving import Reply, Serve, Site

serve = serving.serve_exactly
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
    """ccreq-*, pragma-request-*: a reload is no reason to ask the origin."""
    put(site)
    await fetch(site)
    site.origin.reset()
    for value in ("no-cache", "max-age=0", "no-store", "min-fresh=99999", "only-if-cached"):
        reply = await fetch(site, Cache_Control=value, Pragma="no-cache")
        assert reply.cache_status.startswith("edgecache; hit")
    assert site.origin.requests == []


async def test_no_date_from_the_origin(site: Site) -> None:
    put(site, cache_control="max-age=60")
    site.origin.fault(Fields({"Date": None}), times=None)
    assert await is_reused_after(site, 59)
    assert (await fetch(site)).headers["Date"] == "Sun, 15 Jun 2025 15:06:40 GMT"
