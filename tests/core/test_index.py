from dataclasses import replace

import pytest

from edgecache.core.index import (
    Index,
    Known,
    Missing,
    Route,
    Uncacheable,
    freshened,
    stored_response,
)
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.core.reply import NotModified

NOW = 1_750_000_000.0
DATE = "Sun, 15 Jun 2025 15:06:40 GMT"
ROUTE = Route(label="/", ttl=600, browser_ttl=365 * 86400)
META = ObjectMeta(
    key=ObjectKey("o", "a.png"),
    etag='"v"',
    origin_etag='"v"',
    length=10,
    last_modified=1_700_000_000,
    date=int(NOW),
    request_time=NOW,
    response_time=NOW,
    headers=(),
)
ALWAYS = {
    "Accept-Ranges": "bytes",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Date": DATE,
}


def meta(*headers: tuple[str, str], **other: object) -> ObjectMeta:
    return replace(META, headers=headers, **other)  # type: ignore[arg-type]


def fields(meta: ObjectMeta, route: Route = ROUTE) -> dict[str, str]:
    return dict(stored_response(meta, route).fields)


def test_the_fields_of_a_plain_object() -> None:
    assert fields(META) == ALWAYS | {
        "Content-Type": "image/png",
        "Cache-Control": "public, max-age=31536000, immutable",
        "ETag": '"v"',
        "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT",
    }


def test_without_a_validator_a_browser_asks_each_time() -> None:
    plain = meta(etag="", last_modified=None)
    assert fields(plain) == ALWAYS | {"Content-Type": "image/png", "Cache-Control": "no-cache"}
    said = meta(("cache-control", "max-age=5"), etag="", last_modified=None)
    assert fields(said)["Cache-Control"] == "max-age=5"


def test_the_date_is_ours_where_the_origin_sent_none() -> None:
    assert fields(meta(date=None, response_time=NOW + 1.9))["Date"] == DATE.replace("40", "41")


def test_what_is_passed_on_and_what_is_not() -> None:
    found = stored_response(
        meta(
            ("x-own", "1"),
            ("x-own", "2"),
            ("content-type", "image/x-own"),
            ("cache-control", "max-age=5"),
            ("cdn-cache-control", "max-age=9"),
            ("age", "3"),
        ),
        ROUTE,
    )
    assert [value for name, value in found.fields if name == "X-Own"] == ["1", "2"]
    assert dict(found.fields)["Content-Type"] == found.content_type == "image/x-own"
    assert dict(found.fields)["Cache-Control"] == "max-age=5"
    assert not {"Cdn-Cache-Control", "Age"} & dict(found.fields).keys()


@pytest.mark.parametrize("key", ["a.html", "a.svg", "A.XHTML"])
def test_active_content_gets_a_sandbox(key: str) -> None:
    policy = fields(meta(key=ObjectKey("o", key)))["Content-Security-Policy"]
    assert policy == "sandbox; default-src 'self' data:; script-src 'none'"


@pytest.mark.parametrize(
    ("headers", "ttl", "lifetime"),
    [
        ((), 600, 600),
        ((), 0, 0),
        ((("cache-control", "max-age=5"),), 600, 5),
        ((("cache-control", "max-age=5"), ("cache-control", "s-maxage=7")), 600, 7),
        ((("cache-control", "no-cache"),), 600, 0),
        ((("cdn-cache-control", "max-age=9"), ("cache-control", "max-age=5")), 600, 9),
    ],
)
def test_its_lifetime(headers: tuple[tuple[str, str], ...], ttl: float, lifetime: float) -> None:
    stored = stored_response(meta(*headers), replace(ROUTE, ttl=ttl))
    assert stored.lifetime == lifetime
    assert stored.is_fresh(NOW + lifetime - 0.1) == (lifetime > 0)
    assert not stored.is_fresh(NOW + lifetime)  # RFC 9111 §4.2: greater than, not equal


def test_its_age() -> None:
    stored = stored_response(meta(("age", "30"), request_time=NOW - 2), ROUTE)
    assert [stored.age(NOW + seconds) for seconds in (-5, 0, 8)] == [32, 32, 40]
    assert not stored.is_fresh(NOW + 568)
    assert stored.is_fresh(NOW + 567)


STALE = replace(ROUTE, stale_while_revalidate=30, stale_if_error=90)


def test_its_windows_begin_where_its_lifetime_ends() -> None:
    stored = stored_response(META, STALE)
    behind = [stored.serves_while_revalidating(NOW + seconds) for seconds in (0, 629.9, 630)]
    if_error = [stored.serves_if_error(NOW + seconds) for seconds in (0, 689.9, 690)]
    assert behind == if_error == [True, True, False]


@pytest.mark.parametrize(
    ("headers", "until"),
    [((), 690), ((("cache-control", "max-age=9"),), 99), ((("cache-control", "no-cache"),), 0)],
)
def test_what_was_purged_softly_is_used_if_the_origin_fails(
    headers: tuple[tuple[str, str], ...], until: float
) -> None:
    """As long as without the purge; but never before the origin was asked."""
    stored = stored_response(meta(*headers, stale=True), STALE)
    assert (stored.lifetime, stored.stale_while_revalidate) == (0, 0)
    assert stored.serves_if_error(NOW + until - 0.1) == (until > 0)
    assert not stored.serves_if_error(NOW + until)
    never = stored_response(meta(*headers, stale=True), replace(STALE, stale_if_error=0))
    assert not never.serves_if_error(NOW)


# 304


def test_a_304_replaces_fields_of_the_same_name() -> None:
    """RFC 9111 §4.3.4 and §3.2; cache-tests 304-etag-update-stored-*."""
    old = meta(("a", "1"), ("a", "2"), ("b", "1"), ("age", "50"), ("cache-control", "max-age=1"))
    answer = NotModified(
        {
            "a": "3",
            "cache-control": "max-age=9",
            "date": "Sun, 15 Jun 2025 16:06:40 GMT",
            "etag": '"other"',
            "content-length": "99",
            "set-cookie": "x",
            "connection": "c",
            "c": "hop",
        },
        NOW + 3600,
        NOW + 3601,
    )
    assert freshened(old, answer) == replace(
        META,
        headers=(("b", "1"), ("a", "3"), ("cache-control", "max-age=9")),
        date=int(NOW) + 3600,
        request_time=NOW + 3600,
        response_time=NOW + 3601,
    )


def test_a_304_without_fields_keeps_all_but_the_age() -> None:
    old = meta(("a", "1"), ("age", "50"))
    new = freshened(old, NotModified({}, NOW + 5, NOW + 6))
    assert new.headers == (("a", "1"),)
    assert (new.date, new.version) == (None, old.version)
    assert freshened(old, NotModified({"age": "7"}, 0, 0)).headers == (("a", "1"), ("age", "7"))


@pytest.mark.parametrize(
    ("said", "kept"), [((), ("cat", "dog")), (("new",), ("new",))], ids=["none", "new ones"]
)
def test_a_304_may_bring_other_tags(said: tuple[str, ...], kept: tuple[str, ...]) -> None:
    old = meta(tags=("cat", "dog"), era=3)
    new = freshened(old, NotModified({}, NOW, NOW, said))
    assert (new.tags, new.version) == (kept, old.version)


def test_what_was_purged_softly_is_stale_until_it_is_revalidated() -> None:
    old = meta(stale=True)
    assert not stored_response(old, ROUTE).is_fresh(NOW)
    new = freshened(old, NotModified({}, NOW, NOW))
    assert stored_response(new, ROUTE).is_fresh(NOW)


# The index


KEYS = [ObjectKey("o", str(n)) for n in range(5)]
STORED = stored_response(META, ROUTE)


def test_what_is_meant_is_forgotten() -> None:
    index = Index()
    for key in KEYS:
        index.put(key, STORED)
    index.forget_if(lambda key, known: key.key > "2" and known is STORED)
    assert [key.key for key in KEYS if index.get(key, NOW)] == ["0", "1", "2"]


def test_the_longest_unused_is_forgotten() -> None:
    index = Index(limit=3)
    for key in KEYS[:3]:
        index.put(key, STORED)
    assert index.get(KEYS[0], NOW) is STORED  # a use
    index.put(KEYS[3], STORED)
    assert [index.get(key, NOW) is not None for key in KEYS] == [True, False, True, True, False]
    assert len(index) == 3


def test_a_stale_response_is_still_known() -> None:
    index = Index()
    index.put(KEYS[0], STORED)
    assert index.get(KEYS[0], NOW + 10**9) is STORED


@pytest.mark.parametrize("known", [Missing(NOW + 10), Uncacheable(NOW + 10)])
def test_what_is_not_stored_is_known_for_a_time(known: Known) -> None:
    index = Index()
    index.put(KEYS[0], known)
    assert index.get(KEYS[0], NOW + 9.9) is known
    assert index.get(KEYS[0], NOW + 10) is None
    assert len(index) == 0


def test_putting_again_replaces() -> None:
    index = Index(limit=2)
    index.put(KEYS[0], Missing(NOW + 10))
    index.put(KEYS[1], STORED)
    index.put(KEYS[0], STORED)
    index.put(KEYS[2], STORED)
    assert index.get(KEYS[0], NOW) is STORED
    assert index.get(KEYS[1], NOW) is None


def test_forgetting() -> None:
    index = Index()
    index.put(KEYS[0], STORED)
    index.forget(KEYS[0])
    index.forget(KEYS[1])
    assert index.get(KEYS[0], NOW) is None
