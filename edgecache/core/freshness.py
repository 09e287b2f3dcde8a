"""What may be stored and for how long, RFC 9111 §3, §4.2, §5 and RFC 9213. Rule of this module:
the origin decides; where it is silent the route's ttl does; where it is unclear, less is cached.

`fields` are the origin's response fields: lower-case names, repeated ones joined with ", ".
"""

from collections.abc import Mapping

from edgecache.core.cache_control import (
    MAX_DELTA_SECONDS,
    Directives,
    parse_cache_control,
    parse_delta_seconds,
    parse_targeted,
)
from edgecache.core.model import NotStored
from edgecache.core.validators import parse_http_date

# Every status here is understood in the sense of must-understand (RFC 9111 §5.2.2.3).
STORABLE_STATUS = frozenset({200, 206, 304, 404})
NEEDS_VALIDATOR = frozenset({200, 206})
# Request fields that are the same in every request to the origin: identity is always asked for,
# and a client's Origin and preflight fields never go upstream. S3 names all four under CORS rules.
CONSTANT_REQUEST_FIELDS = frozenset(
    {
        "origin",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
    }
)
YEAR = 365 * 86400


def not_storable(
    status: int, fields: Mapping[str, str], *, has_validator: bool
) -> NotStored | None:
    """Why the response may not be stored (RFC 9111 §3), or None.

    The Authorization of our own requests does not count (§3.5): it is edgecache's and the same for
    every client. Without a validator a 404 is storable, slices of an object are not.
    """
    if status not in STORABLE_STATUS:
        return NotStored.STATUS
    directives, _ = policy(fields)
    if "no-store" in directives and "must-understand" not in directives:
        return NotStored.NO_STORE
    if "private" in directives:
        return NotStored.PRIVATE
    if vary_fields(fields) - CONSTANT_REQUEST_FIELDS:
        return NotStored.VARY
    if status in NEEDS_VALIDATOR and not has_validator:
        return NotStored.NO_VALIDATOR
    return None


def lifetime(
    fields: Mapping[str, str], *, date: int | None, response_time: float, default_ttl: float
) -> float:
    """Freshness lifetime in seconds (RFC 9111 §4.2.1); `default_ttl` is the heuristic (§4.2.2).

    0 where the response has to be validated before each use. Expires counts from `date`, the
    origin's clock, else from `response_time`; when it is no date it has passed (§5.3).
    """
    match decided_by(fields):
        case _, "no-cache":
            return 0
        case _, "s-maxage" | "max-age" as name:
            return policy(fields)[0][name]
        case "expires", _:
            when = parse_http_date(fields["expires"])
        case _:
            return default_ttl
    start = response_time if date is None else date
    return 0 if when is None else min(max(when - start, 0), MAX_DELTA_SECONDS)


def decided_by(fields: Mapping[str, str]) -> tuple[str, str]:
    """The field and the directive in it that decide on the lifetime; "" where there is none."""
    directives, targeted = policy(fields)
    for name in ("no-cache", "s-maxage", "max-age"):
        if name in directives:
            return "cdn-cache-control" if targeted else "cache-control", name
    return "" if targeted or "expires" not in fields else "expires", ""


def corrected_initial_age(
    fields: Mapping[str, str], *, date: int | None, request_time: float, response_time: float
) -> float:
    """RFC 9111 §4.2.3, the conservative form; never negative, whatever the clocks did."""
    apparent_age = 0.0 if date is None else response_time - date
    # §5.1: the first member counts, and a value that is no delta-seconds is ignored.
    age_value = parse_delta_seconds(fields.get("age", "").partition(",")[0].strip(" \t")) or 0
    response_delay = max(response_time - request_time, 0)
    return max(apparent_age, age_value + response_delay)


def current_age(initial_age: float, response_time: float, now: float) -> float:
    """RFC 9111 §4.2.3; a clock that stepped back makes nothing younger than it was stored."""
    return initial_age + max(now - response_time, 0)


def must_revalidate(fields: Mapping[str, str]) -> bool:
    """Whether it may never be served stale (RFC 9111 §4.2.4); for a shared cache s-maxage is such
    a directive, too (§5.2.2.10)."""
    directives, _ = policy(fields)
    return not directives.keys().isdisjoint(
        ("must-revalidate", "proxy-revalidate", "s-maxage", "no-cache")
    )


def stale_windows(
    fields: Mapping[str, str], *, lifetime: float, while_revalidate: float, if_error: float
) -> tuple[float, float]:
    """For how many seconds past `lifetime` it may be used stale while the origin is asked, and when
    the origin fails (RFC 5861 §3, §4). The arguments say it where the origin does not.

    What the origin wants validated at each use is used so only if it says that itself.
    """
    if must_revalidate(fields):
        return 0, 0
    directives, _ = policy(fields)
    by_default = while_revalidate if lifetime > 0 else 0
    return (
        directives.get("stale-while-revalidate", by_default),
        directives.get("stale-if-error", if_error),
    )


def browser_cache_control(fields: Mapping[str, str], browser_ttl: float) -> str:
    """The Cache-Control that clients get: the origin's if it sent one, else the route's.

    An origin that sent only Expires has decided, too: "public" leaves the lifetime to Expires.
    """
    if origin := fields.get("cache-control", "").strip(" \t,"):
        return origin
    if "expires" in fields:
        return "public"
    seconds = min(int(browser_ttl), MAX_DELTA_SECONDS)
    if seconds < 1:
        return "no-cache"
    return f"public, max-age={seconds}" + (", immutable" if seconds >= YEAR else "")


def policy(fields: Mapping[str, str]) -> tuple[Directives, bool]:
    """The directives that decide, and whether they are CDN-Cache-Control's: then Cache-Control and
    Expires say nothing to this cache (RFC 9213 §2.2)."""
    targeted = parse_targeted(fields.get("cdn-cache-control", ""))
    if targeted is not None:
        return targeted, True
    return parse_cache_control(fields.get("cache-control", "")), False


def vary_fields(fields: Mapping[str, str]) -> set[str]:
    """Names in Vary, lower-case, "*" among them (RFC 9111 §4.1)."""
    names = (name.strip(" \t").lower() for name in fields.get("vary", "").split(","))
    return {name for name in names if name}
