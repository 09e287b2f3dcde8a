"""What is known of each object, in memory and bounded. Rule: no I/O; times are given.

The rows on disk are the store's; this holds the objects lately asked for, ready to answer with.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgecache.core.freshness import (
    browser_cache_control,
    corrected_initial_age,
    current_age,
    lifetime,
    stale_windows,
)
from edgecache.core.media_types import content_type, is_active
from edgecache.core.model import NotStored, ObjectKey, ObjectMeta
from edgecache.core.reply import NotModified, join_fields, kept_fields
from edgecache.core.validators import format_http_date, parse_http_date

# Objects in memory: about 3 kB each. The others are read from the store when they are asked for.
OBJECTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The settings that hold for one path prefix; `label` names it in metrics."""

    label: str
    ttl: float
    browser_ttl: float
    tags: tuple[str, ...] = ()
    stale_while_revalidate: float = 0
    stale_if_error: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """An object's metadata with all that does not change from answer to answer worked out.

    The two windows are seconds past `lifetime` (RFC 5861).
    """

    meta: ObjectMeta
    version: str
    lifetime: float
    stale_while_revalidate: float
    stale_if_error: float
    initial_age: float
    content_type: str
    fields: tuple[tuple[str, str], ...]
    head: str  # `fields` as lines

    def age(self, now: float) -> float:
        return current_age(self.initial_age, self.meta.response_time, now)

    def is_fresh(self, now: float) -> bool:
        return self.lifetime > self.age(now)

    def serves_while_revalidating(self, now: float) -> bool:
        return self.lifetime + self.stale_while_revalidate > self.age(now)

    def serves_if_error(self, now: float) -> bool:
        return self.lifetime + self.stale_if_error > self.age(now)


@dataclass(frozen=True, slots=True)
class Missing:
    """The origin has no such object: good until `until` (negative caching, RFC 9111 §4)."""

    until: float


@dataclass(frozen=True, slots=True)
class Uncacheable:
    """The last answer could not be stored: do not queue clients behind one another for it."""

    until: float
    why: NotStored | None = None


Known = StoredResponse | Missing | Uncacheable


def times_of(
    meta: ObjectMeta, fields: Mapping[str, str], route: Route
) -> tuple[float, float, float]:
    """(lifetime, stale-while-revalidate, stale-if-error) in seconds."""
    spent = lifetime(
        fields, date=meta.date, response_time=meta.response_time, default_ttl=route.ttl
    )
    while_revalidate, if_error = stale_windows(
        fields,
        lifetime=spent,
        while_revalidate=route.stale_while_revalidate,
        if_error=route.stale_if_error,
    )
    if not meta.stale:
        return spent, while_revalidate, if_error
    # Purged softly: the origin is asked at the next use. If it fails, all is as if there had been
    # no purge, for nobody knows of anything newer.
    return 0, 0, spent + if_error if if_error else 0


def stored_response(meta: ObjectMeta, route: Route) -> StoredResponse:
    fields = join_fields(meta.headers)
    kind = content_type(meta.key.key, fields.get("content-type", ""))
    answer = {
        "Content-Type": kind,
        "Date": format_http_date(meta.date if meta.date is not None else meta.response_time),
        "Cache-Control": "no-cache",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if meta.etag:
        answer["ETag"] = meta.etag
    # Without a validator nobody could notice a change, so a browser asks each time.
    if meta.etag or "cache-control" in fields:
        answer["Cache-Control"] = browser_cache_control(fields, route.browser_ttl)
    if meta.last_modified is not None:
        answer["Last-Modified"] = format_http_date(meta.last_modified)
    if is_active(kind):  # an upload must not run script on the media host
        answer["Content-Security-Policy"] = "sandbox; default-src 'self' data:; script-src 'none'"
    own = {"content-type", "cache-control", "cdn-cache-control", "age"}
    passed = tuple((name.title(), value) for name, value in meta.headers if name not in own)
    everything = (*answer.items(), *passed)
    fresh_for, while_revalidate, if_error = times_of(meta, fields, route)
    return StoredResponse(
        meta=meta,
        version=meta.version,
        lifetime=fresh_for,
        stale_while_revalidate=while_revalidate,
        stale_if_error=if_error,
        initial_age=corrected_initial_age(
            fields,
            date=meta.date,
            request_time=meta.request_time,
            response_time=meta.response_time,
        ),
        content_type=kind,
        fields=everything,
        head="".join([f"{name}: {value}\r\n" for name, value in everything]),
    )


def freshened(meta: ObjectMeta, not_modified: NotModified) -> ObjectMeta:
    """`meta` after a 304 (RFC 9111 §4.3.4): its fields replace the stored ones of the same name."""
    newer = kept_fields(not_modified.fields.items())
    replaced = {name for name, _ in newer} | {"age"}
    return replace(
        meta,
        headers=tuple(pair for pair in meta.headers if pair[0] not in replaced) + newer,
        date=parse_http_date(not_modified.fields.get("date", "")),
        request_time=not_modified.request_time,
        response_time=not_modified.response_time,
        tags=not_modified.tags or meta.tags,
        stale=False,
    )


class Index:
    def __init__(self, limit: int = OBJECTS) -> None:
        self._limit = limit
        self._known: OrderedDict[ObjectKey, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: ObjectKey, now: float) -> Known | None:
        known = self._known.get(key)
        if known is None:
            return None
        if not isinstance(known, StoredResponse) and known.until <= now:
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return known

    def put(self, key: ObjectKey, known: Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def clear(self) -> None:
        self._known.clear()

    def forget_if(self, is_meant: Callable[[ObjectKey, Known], bool]) -> None:
        for key in [key for key, known in self._known.items() if is_meant(key, known)]:
            del self._known[key]

    def forget(self, key: ObjectKey) -> None:
        self._known.pop(key, None)
