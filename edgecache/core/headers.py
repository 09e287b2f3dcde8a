"""Which of the origin's response fields are stored and passed on. Rule of this module: nothing
that speaks of one connection, of the origin's host, or of what edgecache itself says gets through.
"""

import re
from collections.abc import Iterable

HOP_BY_HOP = frozenset(  # RFC 9110 §7.6.1, RFC 9111 §3.1
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
OWN = frozenset(  # made by edgecache, or a field of ObjectMeta
    {
        "accept-ranges",
        "age",
        "cache-status",
        "content-length",
        "content-range",
        "cross-origin-resource-policy",
        "date",
        "etag",
        "last-modified",
        "x-content-type-options",
    }
)
ONE_MESSAGE = frozenset(  # of the one answer's bytes or way, untrue for slices put together
    {"content-digest", "content-md5", "warning"}
)
HOST = frozenset(  # promises of the origin's host, which a browser would hold ours to
    {
        "alt-svc",
        "clear-site-data",
        "expect-ct",
        "nel",
        "public-key-pins",
        "report-to",
        "reporting-endpoints",
        "server",
        "set-cookie",
        "set-cookie2",
        "strict-transport-security",
        "via",
    }
)
TAGS = frozenset(  # between the origin and its caches: see core.tags
    {"cache-tag", "surrogate-key"}
)
DROPPED = HOP_BY_HOP | OWN | ONE_MESSAGE | HOST | TAGS
DROPPED_PREFIXES = ("access-control-", "cf-", "content-security-policy", "x-amz-", "x-amzn-")

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
# RFC 9110 §5.5: no CTL but tab. Lone surrogates stand for bytes that are no UTF-8: they could not
# be written to a client or to the index.
VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")


def stored_fields(fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The end-to-end fields, lower-case names, in order, repeated ones kept apart."""
    fields = tuple((name.lower(), value.strip(" \t")) for name, value in fields)
    named = {
        option.strip(" \t").lower()
        for name, value in fields
        if name == "connection"
        for option in value.split(",")
    }
    return tuple(
        (name, value)
        for name, value in fields
        if name not in DROPPED
        and name not in named
        and not name.startswith(DROPPED_PREFIXES)
        and TOKEN.fullmatch(name)
        and VALUE.fullmatch(value)
    )
