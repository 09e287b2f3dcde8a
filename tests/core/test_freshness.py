import pytest

from edgecache.core.freshness import (
    browser_cache_control,
    corrected_initial_age,
    current_age,
    lifetime,
    must_revalidate,
    not_storable,
    stale_windows,
)
from edgecache.core.model import NotStored
from edgecache.core.validators import format_http_date

NOW = 1_700_000_000
TTL = 777.0
YEAR = 365 * 86400.0

Fields = dict[str, str]


def expires(delta: int) -> str:
    return format_http_date(NOW + delta)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"cache-control": "max-age=60"}, None),
        ({"cache-control": "no-cache"}, None),  # cc-resp-no-cache-revalidate: stored, validated
        ({"cache-control": "max-age=0"}, None),
        # RFC 9111 §5.2.2.5, §5.2.2.7
        ({"cache-control": "no-store"}, NotStored.NO_STORE),  # cc-resp-no-store
        ({"cache-control": "nO-StOrE"}, NotStored.NO_STORE),  # cc-resp-no-store-case-insensitive
        (
            {"cache-control": "max-age=10000, no-store"},
            NotStored.NO_STORE,
        ),  # cc-resp-no-store-fresh
        ({"cache-control": "private, max-age=3600"}, NotStored.PRIVATE),  # cc-resp-private-shared
        ({"cache-control": 'private="x-user"'}, NotStored.PRIVATE),
        ({"cache-control": "no-store, private"}, NotStored.NO_STORE),
        ({"cache-control": 'x="no-store"'}, None),
        # §5.2.2.3: every status that gets here is understood
        ({"cache-control": "must-understand, no-store"}, None),
        ({"cache-control": "must-understand, no-store, private"}, NotStored.PRIVATE),
        # RFC 9213 §2.2: a valid targeted field alone decides
        (
            {"cdn-cache-control": "max-age=60", "cache-control": "no-store"},
            None,
        ),  # cdn-fresh-cc-nostore
        ({"cdn-cache-control": "max-age=60", "cache-control": "private"}, None),
        ({"cdn-cache-control": "no-store", "cache-control": "max-age=60"}, NotStored.NO_STORE),
        ({"cdn-cache-control": "private", "cache-control": "max-age=60"}, NotStored.PRIVATE),
        ({"cdn-cache-control": "max-age=60, &&", "cache-control": "no-store"}, NotStored.NO_STORE),
        ({"cdn-cache-control": "", "cache-control": "no-store"}, NotStored.NO_STORE),
        # §4.1
        ({"vary": ""}, None),
        ({"vary": "Origin"}, None),
        ({"vary": "origin, ACCEPT-ENCODING,"}, None),
        (
            {"vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"},
            None,
        ),
        ({"vary": "*"}, NotStored.VARY),  # vary-syntax-star
        ({"vary": "*, *"}, NotStored.VARY),  # vary-syntax-star-star
        ({"vary": ", *"}, NotStored.VARY),  # vary-syntax-empty-star
        ({"vary": "*, Origin"}, NotStored.VARY),  # vary-syntax-star-foo
        ({"vary": "Origin, *"}, NotStored.VARY),  # vary-syntax-foo-star
        ({"vary": "User-Agent"}, NotStored.VARY),
        ({"vary": "Origin, Cookie"}, NotStored.VARY),
    ],
)
def test_what_may_be_stored(fields: Fields, reason: NotStored | None) -> None:
    assert not_storable(200, fields, has_validator=True) == reason


@pytest.mark.parametrize(
    ("status", "has_validator", "reason"),
    [
        (200, True, None),
        (206, True, None),
        (304, True, None),
        (404, True, None),
        # no validator: slices could not be told apart (§3.4); a 404 has none to have, and a 304 has
        # the one that it answers
        (200, False, NotStored.NO_VALIDATOR),
        (206, False, NotStored.NO_VALIDATOR),
        (304, False, None),
        (404, False, None),
        *((status, True, NotStored.STATUS) for status in (201, 203, 204, 301, 403, 410, 416)),
        *((status, True, NotStored.STATUS) for status in (500, 502, 503, 504, 524)),
    ],
)
def test_statuses(status: int, has_validator: bool, reason: NotStored | None) -> None:
    fields = {"cache-control": "public, max-age=60"}
    assert not_storable(status, fields, has_validator=has_validator) == reason


def test_a_404_obeys_its_directives() -> None:
    fields = {"cache-control": "no-store"}
    assert not_storable(404, fields, has_validator=False) == NotStored.NO_STORE


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        # RFC 9111 §4.2.2: nothing said
        ({}, TTL),
        ({"cache-control": "public"}, TTL),
        ({"cache-control": "immutable, foobar"}, TTL),
        # §4.2.1
        ({"cache-control": "max-age=3600"}, 3600),  # freshness-max-age
        ({"cache-control": "max-age=0"}, 0),  # freshness-max-age-0
        ({"cache-control": "max-age=2147483648"}, 2**31),  # freshness-max-age-max
        ({"cache-control": "max-age=99999999999"}, 2**31),  # freshness-max-age-max-plus
        ({"cache-control": "max-age=-1"}, 0),  # freshness-max-age-negative
        ({"cache-control": "max-age=abc"}, 0),
        ({"cache-control": "max-age=1800, max-age=1"}, 1),  # freshness-max-age-two-*
        ({"cache-control": "max-age=1, max-age=1800"}, 1),
        ({"cache-control": "s-maxage=3600"}, 3600),  # freshness-s-maxage-shared
        ({"cache-control": "max-age=3600, s-maxage=1"}, 1),  # freshness-max-age-s-maxage-...-longer
        ({"cache-control": "max-age=1, s-maxage=3600"}, 3600),  # ...-shorter
        ({"cache-control": "max-age=3600, s-maxage=x"}, 0),
        ({"cache-control": "max-age=10000, no-cache"}, 0),  # cc-resp-no-cache-revalidate-fresh
        ({"cache-control": 'max-age=60, no-cache="set-cookie"'}, 0),
        ({"cache-control": "s-maxage=60, No-CaChE"}, 0),
        # §5.3
        ({"expires": expires(3600)}, 3600),  # freshness-expires-future
        ({"expires": expires(0)}, 0),  # freshness-expires-present
        ({"expires": expires(-3600)}, 0),  # freshness-expires-past
        ({"expires": "0"}, 0),  # freshness-expires-invalid
        ({"expires": ""}, 0),
        ({"expires": f"{expires(60)}, {expires(60)}"}, 0),
        ({"expires": "Fri, 31 Dec 9999 23:59:59 GMT"}, 2**31),
        ({"expires": "Tue, 14 Nov 2023 23:13:20 UTC"}, 3600),
        ({"cache-control": "max-age=3600", "expires": expires(-9)}, 3600),  # -max-age-expires
        ({"cache-control": "max-age=3600", "expires": "0"}, 3600),  # -max-age-expires-invalid
        ({"cache-control": "max-age=0", "expires": expires(9)}, 0),  # freshness-max-age-0-expires
        ({"cache-control": "public", "expires": expires(60)}, 60),
        # RFC 9213: cdn-max-age, cdn-max-age-{0,expires,long-cc-max-age,short-cc-max-age}
        ({"cdn-cache-control": "max-age=3600"}, 3600),
        ({"cdn-cache-control": "max-age=0", "expires": expires(9)}, 0),
        ({"cdn-cache-control": "max-age=3600", "expires": expires(-9)}, 3600),
        ({"cdn-cache-control": "max-age=3600", "cache-control": "max-age=1"}, 3600),
        ({"cdn-cache-control": "max-age=1", "cache-control": "max-age=3600"}, 1),
        ({"cdn-cache-control": "max-age=1", "cache-control": "s-maxage=3600"}, 1),
        ({"cdn-cache-control": "max-age=60", "cache-control": "no-cache"}, 60),
        ({"cdn-cache-control": "no-cache", "cache-control": "max-age=60"}, 0),  # cdn-no-cache
        ({"cdn-cache-control": "foo", "cache-control": "max-age=1", "expires": expires(9)}, TTL),
        ({"cdn-cache-control": 'max-age="60"', "cache-control": "max-age=1"}, 1),
        ({"cdn-cache-control": " ", "expires": expires(9)}, 9),
    ],
)
def test_freshness_lifetime(fields: Fields, seconds: float) -> None:
    assert lifetime(fields, date=NOW, response_time=NOW + 5.0, default_ttl=TTL) == seconds


def test_expires_counts_from_our_clock_when_there_is_no_date() -> None:
    fields = {"expires": expires(60)}  # cache-tests: freshness-expires-invalid-date
    assert lifetime(fields, date=None, response_time=NOW + 20.5, default_ttl=TTL) == 39.5


@pytest.mark.parametrize(
    ("age", "date", "delay", "initial"),
    [
        # RFC 9111 §4.2.3: max(apparent_age, age_value + response_delay)
        ("", NOW, 0.0, 0.0),
        ("", None, 0.0, 0.0),
        ("", NOW - 30, 0.0, 30.0),
        ("", NOW - 30, 5.0, 30.0),
        ("", NOW, 5.0, 5.0),
        ("100", NOW, 5.0, 105.0),
        ("100", NOW - 500, 5.0, 500.0),
        ("100", None, 0.5, 100.5),
        ("100", NOW + 3600, 0.0, 100.0),  # an origin whose clock is ahead
        ("", NOW + 3600, 0.0, 0.0),
        ("", NOW, -3.0, 0.0),  # our clock stepped back during the request
        # §5.1: the first member; what is no delta-seconds is ignored
        ("7200, 0", NOW, 0.0, 7200.0),  # age-parse-suffix
        ("0,7200", NOW, 0.0, 0.0),  # age-parse-prefix
        ("7200, 7200", NOW, 0.0, 7200.0),  # age-parse-dup-old
        ("abc", NOW, 0.0, 0.0),  # age-parse-nonnumeric
        ("-7200", NOW, 0.0, 0.0),  # age-parse-negative
        ("7200.0", NOW, 0.0, 0.0),  # age-parse-float
        ("9" * 30, NOW, 0.0, 2.0**31),
    ],
)
def test_corrected_initial_age(age: str, date: int | None, delay: float, initial: float) -> None:
    fields = {"age": age} if age else {}
    found = corrected_initial_age(fields, date=date, request_time=NOW - delay, response_time=NOW)
    assert found == initial


@pytest.mark.parametrize(
    ("initial", "now", "age"),
    [
        (0.0, NOW, 0.0),
        (30.0, NOW + 12.5, 42.5),
        (30.0, NOW - 86400, 30.0),  # our clock stepped back: never negative, never younger
    ],
)
def test_current_age(initial: float, now: float, age: float) -> None:
    assert current_age(initial, NOW, now) == age


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({}, False),
        ({"cache-control": "max-age=60, immutable"}, False),
        ({"cache-control": "max-age=2, must-revalidate"}, True),  # cc-resp-must-revalidate-stale
        ({"cache-control": "Proxy-Revalidate"}, True),
        ({"cache-control": "s-maxage=60"}, True),  # RFC 9111 §5.2.2.10
        ({"cache-control": "no-cache"}, True),
        ({"cdn-cache-control": "max-age=60", "cache-control": "must-revalidate"}, False),
        ({"cdn-cache-control": "max-age=60, must-revalidate"}, True),
    ],
)
def test_must_revalidate(fields: Fields, answer: bool) -> None:
    assert must_revalidate(fields) is answer


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({}, (30, 600)),
        ({"cache-control": "max-age=60"}, (30, 600)),
        ({"cache-control": "stale-while-revalidate=5"}, (5, 600)),
        ({"cache-control": "stale-if-error=7"}, (30, 7)),
        ({"cache-control": "Stale-If-Error=0, stale-while-revalidate=0"}, (0, 0)),
        # Of two readings the one that caches less.
        ({"cache-control": "stale-while-revalidate, stale-if-error=x"}, (0, 0)),
        ({"cache-control": "stale-if-error=9, stale-if-error=4"}, (30, 4)),
        # RFC 9111 §4.2.4: prohibited, whatever else is said
        ({"cache-control": "must-revalidate, stale-if-error=9"}, (0, 0)),
        ({"cache-control": "proxy-revalidate, stale-while-revalidate=9"}, (0, 0)),
        ({"cache-control": "s-maxage=60, stale-while-revalidate=9"}, (0, 0)),
        ({"cache-control": "no-cache"}, (0, 0)),
        # RFC 9213 §2.2
        (
            {"cdn-cache-control": "stale-if-error=9", "cache-control": "stale-while-revalidate=1"},
            (30, 9),
        ),
        ({"cdn-cache-control": "max-age=5", "cache-control": "must-revalidate"}, (30, 600)),
        ({"cdn-cache-control": "stale-if-error=?1", "cache-control": "stale-if-error=3"}, (30, 3)),
    ],
)
def test_stale_windows(fields: Fields, windows: tuple[float, float]) -> None:
    assert stale_windows(fields, lifetime=60, while_revalidate=30, if_error=600) == windows


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"cache-control": "max-age=0"}, (0, 600)),
        ({"cache-control": "max-age=0, stale-while-revalidate=8"}, (8, 600)),
    ],
)
def test_what_is_never_fresh_is_revalidated_first(
    fields: Fields, windows: tuple[float, float]
) -> None:
    assert stale_windows(fields, lifetime=0, while_revalidate=30, if_error=600) == windows


@pytest.mark.parametrize(
    ("fields", "browser_ttl", "value"),
    [
        ({}, YEAR, "public, max-age=31536000, immutable"),
        ({}, YEAR - 1, "public, max-age=31535999"),
        ({}, 2 * YEAR, "public, max-age=63072000, immutable"),
        ({}, 1000 * YEAR, "public, max-age=2147483648, immutable"),
        ({}, 90.9, "public, max-age=90"),
        ({}, 0.9, "no-cache"),
        ({}, 0.0, "no-cache"),
        ({"cache-control": "private, max-age=5"}, YEAR, "private, max-age=5"),
        ({"cache-control": "no-store"}, YEAR, "no-store"),
        ({"cache-control": "max-age=60"}, 0.0, "max-age=60"),
        ({"cache-control": " , "}, 60.0, "public, max-age=60"),
        ({"cdn-cache-control": "no-store"}, 60.0, "public, max-age=60"),  # not for browsers
        ({"expires": "0"}, YEAR, "public"),
        ({"expires": "0", "cache-control": "max-age=1"}, YEAR, "max-age=1"),
    ],
)
def test_browser_cache_control(fields: Fields, browser_ttl: float, value: str) -> None:
    assert browser_cache_control(fields, browser_ttl) == value
