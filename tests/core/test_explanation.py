"""Facts are what the rules say, in words and in JSON's values."""

import json
from dataclasses import dataclass, replace

import pytest

from edgecache.core.accounts import Account, Purge
from edgecache.core.explanation import (
    MOST_RUNS,
    account_facts,
    freshness_facts,
    popularity_facts,
    purge_facts,
    response_facts,
    runs,
)
from edgecache.core.index import Route, StoredResponse, stored_response
from edgecache.core.marks import Kind, Target
from tests.slices import meta_of

NOW = 1_750_000_000.5
SILENT = "the origin does not say: routes[].ttl, else freshness.ttl"


def stored(*headers: tuple[str, str], ttl: float = 60) -> StoredResponse:
    meta = replace(meta_of(), headers=headers, request_time=NOW, response_time=NOW)
    return stored_response(meta, Route(label="/", ttl=ttl, browser_ttl=60))


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1, 2, 3, 7], "0-3,7"),
        ([1, 3, 4], "1,3-4"),
        (range(100), "0-99"),
    ],
)
def test_runs(numbers: list[int], text: str) -> None:
    assert runs(numbers) == text


def test_runs_are_bounded() -> None:
    named = runs(range(0, 1000, 2)).split(",")
    assert named == [*(str(n) for n in range(0, 2 * MOST_RUNS, 2)), "..."]
    assert "..." not in runs(range(0, 2 * MOST_RUNS, 2))


@pytest.mark.parametrize(
    ("headers", "lifetime", "why"),
    [
        ([], 60, SILENT),
        ([("cache-control", "public")], 60, SILENT),
        ([("cache-control", "max-age=5")], 5, "Cache-Control: max-age=5"),
        ([("cache-control", "max-age=5, s-maxage=7")], 7, "Cache-Control: s-maxage=7"),
        ([("cache-control", "max-age=5, no-cache")], 0, "Cache-Control: no-cache"),
        (
            [("cache-control", "max-age=5"), ("cdn-cache-control", "max-age=9")],
            9,
            "CDN-Cache-Control: max-age=9",
        ),
        (
            [("expires", "Sun, 15 Jun 2025 15:07:20 GMT")],
            40,
            "Expires: Sun, 15 Jun 2025 15:07:20 GMT",
        ),
        ([("expires", "0")], 0, "Expires: 0"),
        (
            [("expires", "0"), ("cdn-cache-control", "public")],
            60,
            SILENT,
        ),
    ],
)  # fmt: skip
def test_the_reason_is_that_of_the_lifetime(
    headers: list[tuple[str, str]], lifetime: float, why: str
) -> None:
    facts = freshness_facts(stored(*headers), NOW)
    assert (facts["lifetime"], facts["why"]) == (lifetime, why)


def test_what_was_purged_softly_is_stale_for_that() -> None:
    purged = stored_response(
        replace(stored().meta, stale=True), Route(label="/", ttl=60, browser_ttl=60)
    )
    facts = freshness_facts(purged, NOW)
    assert (facts["fresh"], facts["lifetime"]) == (False, 0)
    assert facts["why"] == "purged softly: revalidated at the next use"


@pytest.mark.parametrize(
    ("headers", "purged", "windows", "why"),
    [
        ([], False, (30, 90), ""),
        ([("cache-control", "stale-if-error=5")], False, (30, 5), ""),
        ([("cache-control", "must-revalidate")], False, (0, 0), "the origin forbids it"),
        ([("cache-control", "must-revalidate")], True, (0, 0), "the origin forbids it"),
        ([], True, (0, 150), "purged softly"),
        ([("cache-control", "max-age=0")], False, (0, 90), "never fresh"),
        ([("cache-control", "max-age=0, stale-while-revalidate=1")], False, (1, 90), ""),
    ],
)
def test_for_how_long_it_is_used_stale(
    headers: list[tuple[str, str]], purged: bool, windows: tuple[int, int], why: str
) -> None:
    meta = replace(stored(*headers).meta, stale=purged)
    route = Route(label="/", ttl=60, browser_ttl=60, stale_while_revalidate=30, stale_if_error=90)
    facts = freshness_facts(stored_response(meta, route), NOW)
    assert (facts["stale_while_revalidate"], facts["stale_if_error"]) == windows
    assert facts["why_not_stale"] == why


def test_freshness_goes_by_the_age() -> None:
    response = stored(("cache-control", "max-age=10"))
    fresh, stale = (freshness_facts(response, NOW + later) for later in (4, 12))
    assert (fresh["fresh"], fresh["age"], fresh["ttl"]) == (True, 4.5, 5.5)
    assert (stale["fresh"], stale["ttl"]) == (False, -2.5)


def test_a_response() -> None:
    facts = response_facts(stored(("content-type", "video/mp4")))
    assert facts == {
        "version": meta_of().version,
        "etag": '"v1"',
        "length": 65536,
        "content_type": "video/mp4",
        "tags": [],
        "last_modified": "2023-11-14T22:13:20Z",
        "validated": "2025-06-15T15:06:40Z",
    }
    undated = stored_response(
        replace(meta_of(), last_modified=None), Route(label="/", ttl=1, browser_ttl=1)
    )
    assert response_facts(undated)["last_modified"] is None


def test_an_account_that_is_not_there_is_not_zero() -> None:
    unknown = {"bought": None, "served": None, "answers": None, "hits": None, "last_use": None}
    assert account_facts(None, 0.0) == {"since": "1970-01-01T00:00:00Z"} | unknown
    facts = account_facts(Account(bought=5), NOW)
    assert (facts["bought"], facts["served"], facts["last_use"]) == (5, 0, None)
    used = account_facts(Account(last_use=NOW), NOW)
    assert used["last_use"] == used["since"] == "2025-06-15T15:06:40Z"


@dataclass(frozen=True)
class Popular:
    count: int
    priority: float


def test_popularity() -> None:
    assert popularity_facts([], pinned=True) == {
        "slices": 0,
        "count": 0,
        "least_priority": None,
        "most_priority": None,
        "pinned": True,
    }
    facts = popularity_facts([Popular(3, 1.5), Popular(9, 0.5), Popular(1, 2.0)], pinned=False)
    assert facts == {
        "slices": 3,
        "count": 9,
        "least_priority": 0.5,
        "most_priority": 2.0,
        "pinned": False,
    }


def test_a_purge() -> None:
    assert purge_facts(None) is None
    assert json.dumps(purge_facts(Purge(Target(Kind.TAG, "album-1"), True, NOW))) == (
        '{"by": "tag", "what": "album-1", "soft": true, "time": "2025-06-15T15:06:40Z"}'
    )
