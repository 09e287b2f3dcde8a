"""What is known of an object, in values that JSON has. Rule of this module: it tells what other
rules decided and decides nothing; times are RFC 3339 in UTC.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from edgecache.core.accounts import Account, Purge
from edgecache.core.freshness import decided_by, must_revalidate, policy
from edgecache.core.index import StoredResponse
from edgecache.core.reply import join_fields

# Of slices that are here and there, so many runs are named.
MOST_RUNS = 50

Facts = dict[str, Any]


def timestamp(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def response_facts(stored: StoredResponse) -> Facts:
    meta = stored.meta
    return {
        "version": stored.version,
        "etag": meta.etag,
        "length": meta.length,
        "content_type": stored.content_type,
        "tags": list(meta.tags),
        "last_modified": None if meta.last_modified is None else timestamp(meta.last_modified),
        "validated": timestamp(meta.response_time),
    }


def freshness_facts(stored: StoredResponse, now: float) -> Facts:
    """Seconds; `ttl` is negative when stale."""
    age = stored.age(now)
    return {
        "fresh": stored.is_fresh(now),
        "lifetime": round(stored.lifetime, 1),
        "age": round(age, 1),
        "ttl": round(stored.lifetime - age, 1),
        "why": lifetime_reason(stored),
        "stale_while_revalidate": round(stored.stale_while_revalidate, 1),
        "stale_if_error": round(stored.stale_if_error, 1),
        "why_not_stale": stale_reason(stored),
    }


def stale_reason(stored: StoredResponse) -> str:
    """Why it is not used stale, or not while it is revalidated; "" if it is, or by the settings."""
    if must_revalidate(join_fields(stored.meta.headers)):
        return "the origin forbids it"
    if stored.meta.stale:
        return "purged softly"
    if not stored.lifetime and not stored.stale_while_revalidate:
        return "never fresh"
    return ""


def lifetime_reason(stored: StoredResponse) -> str:
    """What the lifetime goes by: the origin's own words, or the setting that stands in for them."""
    if stored.meta.stale:
        return "purged softly: revalidated at the next use"
    fields = join_fields(stored.meta.headers)
    field, directive = decided_by(fields)
    if not field:
        return "the origin does not say: routes[].ttl, else freshness.ttl"
    name = "CDN-Cache-Control" if field == "cdn-cache-control" else field.title()
    if not directive:
        return f"{name}: {fields[field]}"
    argument = "" if directive == "no-cache" else f"={policy(fields)[0][directive]}"
    return f"{name}: {directive}{argument}"


def runs(numbers: Iterable[int]) -> str:
    """Ascending numbers as "0-3,7"; what is too much to name is "..."."""
    named: list[str] = []
    for first, last in _runs(numbers):
        if len(named) == MOST_RUNS:
            named.append("...")
            break
        named.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(named)


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last


class Popular(Protocol):
    """What the store's policy tells of a slice."""

    @property
    def count(self) -> int: ...

    @property
    def priority(self) -> float: ...


def popularity_facts(slices: Sequence[Popular], *, pinned: bool) -> Facts:
    """Of an object's slices, by how much they are asked for; those of least priority go first.

    None is demoted: only those of versions that were replaced are.
    """
    priorities = [one.priority for one in slices]
    return {
        "slices": len(slices),
        "count": max((one.count for one in slices), default=0),
        "least_priority": min(priorities, default=None),
        "most_priority": max(priorities, default=None),
        "pinned": pinned,
    }


def account_facts(account: Account | None, since: float) -> Facts:
    """Without an account all is null: nothing is known, which is not nothing."""
    facts: Facts = {"since": timestamp(since)}
    if account is None:
        return facts | dict.fromkeys(("bought", "served", "answers", "hits", "last_use"))
    return facts | {
        "bought": account.bought,
        "served": account.served,
        "answers": account.answers,
        "hits": account.hits,
        "last_use": timestamp(account.last_use) if account.last_use else None,
    }


def purge_facts(purge: Purge | None) -> Facts | None:
    if purge is None:
        return None
    return {
        "by": purge.target.kind,
        "what": purge.target.text,
        "soft": purge.soft,
        "time": timestamp(purge.time),
    }
