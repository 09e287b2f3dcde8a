"""Cache-Status, RFC 9211. Rule of this module: an answer is a hit or was forwarded, never both."""

import re
from dataclasses import dataclass

from edgecache.core.model import Forward

MAX_DETAIL = 128
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    """`ttl` is in seconds, negative when stale (§2.6). Neither hit nor forward: an own answer."""

    hit: bool = False
    forward: Forward | None = None
    forward_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    ttl: int | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if self.hit and self.forward is not None:
            raise ValueError(f"a hit is not forwarded ({self.forward})")


def format_cache_status(status: CacheStatus) -> str:
    """One member of the list; what only a forwarded request has (§2.3 to §2.5) needs `forward`."""
    parameters = ["edgecache"]
    if status.hit:
        parameters.append("hit")
    if status.forward is not None:
        parameters.append(f"fwd={status.forward}")
        if status.forward_status is not None:
            parameters.append(f"fwd-status={status.forward_status}")
        if status.stored:
            parameters.append("stored")
        if status.collapsed:
            parameters.append("collapsed")
    if status.ttl is not None:
        parameters.append(f"ttl={status.ttl}")
    if status.detail:
        parameters.append(f"detail={quote(status.detail)}")
    return "; ".join(parameters)


def quote(text: str) -> str:
    """A Structured Field String (RFC 8941 §3.3.3): printable ASCII, cut to a bound."""
    printable = UNPRINTABLE.sub("?", text[:MAX_DETAIL])
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
