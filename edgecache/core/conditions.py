"""Preconditions, RFC 9110 §13. Rule of this module: garbage never raises, never makes a 304, and
never lets bytes of two versions be joined.

If-Match and If-Unmodified-Since are "not applicable to a cache" (RFC 9111 §4.3.2), yet they are
evaluated here: for its clients edgecache is the origin server (RFC 9110 §3.7), and nothing of their
headers goes upstream, so nobody else could. A client that resumes a download with If-Match counts
on the 412.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto

from edgecache.core.validators import parse_http_date

MAX_LIST = 8192  # characters of an entity-tag list that are looked at
# RFC 9110 §8.8.2.2: Last-Modified is strong only when Date is at least a second later *and* the
# clocks agree or are far enough apart. The origin's mtime comes from the machine that wrote the
# file and its Date from a gateway, so the clocks differ; 60 s is the margin that RFC 7232 asked.
STRONG_DATE_MARGIN = 60

# Etagc with obs-text here, only to find where a client's tag ends.
ENTITY_TAG = re.compile(
    r'[ \t]*+(?P<weak>W/)?(?P<tag>"[\x21\x23-\x7e\x80-\U0010ffff]*+")[ \t]*+(?:,|\Z)'
)


class Outcome(Enum):
    PROCEED = auto()
    NOT_MODIFIED = auto()
    PRECONDITION_FAILED = auto()


def evaluate(headers: Mapping[str, str], *, etag: str, last_modified: int | None) -> Outcome:
    """The outcome for a GET or HEAD whose answer would be a 2xx (RFC 9110 §13.2.1, §13.2.2).

    `headers` are the client's (`.get("If-Match")` has to find them). `etag` is strong and quoted;
    "" means that the object has none, so that only "*" names it.
    """
    if (if_match := headers.get("If-Match")) is not None:
        holds = matches(if_match, etag, weak=False)
    else:
        holds = modified_since(headers.get("If-Unmodified-Since"), last_modified) is not True
    if not holds:
        return Outcome.PRECONDITION_FAILED

    if (if_none_match := headers.get("If-None-Match")) is not None:
        changed = not matches(if_none_match, etag, weak=True)
    else:
        changed = modified_since(headers.get("If-Modified-Since"), last_modified) is not False
    return Outcome.PROCEED if changed else Outcome.NOT_MODIFIED


def range_applies(
    if_range: str | None, *, etag: str, last_modified: int | None, date: int | None
) -> bool:
    """Whether Range may be honoured (RFC 9110 §13.1.5); else the answer is the whole object.

    `date` is the Date of the stored response, by the origin's clock.
    """
    if if_range is None:
        return True
    validator = if_range.strip(" \t")
    if '"' in validator:  # strong comparison, §8.8.3.2: W/"..." is never equal to a strong tag
        return validator == etag
    if last_modified is None or date is None or date - last_modified < STRONG_DATE_MARGIN:
        return False
    return parse_http_date(validator) == last_modified


def matches(value: str, etag: str, *, weak: bool) -> bool:
    """Whether "*" or one member of an If-Match or If-None-Match list names `etag` (§8.8.3.2)."""
    if value.strip(" \t") == "*" or (etag and value == etag):
        return True
    return any(tag == etag and (weak or not is_weak) for is_weak, tag in entity_tags(value))


def entity_tags(value: str) -> Iterator[tuple[bool, str]]:
    """(weak, tag with quotes) of each well-formed member; what is none is skipped to its comma."""
    value = value[:MAX_LIST]
    position = 0
    while position < len(value):
        if found := ENTITY_TAG.match(value, position):
            yield found["weak"] is not None, found["tag"]
            position = found.end()
        else:
            comma = value.find(",", position)
            position = len(value) if comma < 0 else comma + 1


def modified_since(value: str | None, last_modified: int | None) -> bool | None:
    """None: no field, or one to ignore, as one side has no date (§13.1.3, §13.1.4)."""
    since = None if value is None else parse_http_date(value)
    if since is None or last_modified is None:
        return None
    return last_modified > since
