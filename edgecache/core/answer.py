"""The head of an answer, from the plan and the stored response. Rule: fields and lengths only."""

from collections.abc import Iterable

from edgecache.core.index import StoredResponse
from edgecache.core.plan import Plan
from edgecache.core.ranges import format_content_range, parts_length

Fields = list[tuple[str, str]]

# These describe the body that a 304 or an error does not have (RFC 9110 §15.4.5).
BODY_FIELDS = frozenset(
    {"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Accept-Ranges"}
)
# These would let a cache on the way keep one client's 412 or 416 and give it to the others.
FRESHNESS_FIELDS = frozenset({"Cache-Control", "Expires"})


def answer_fields(stored: StoredResponse, plan: Plan, boundary: str) -> Fields:
    """All but Age, Cache-Status, CORS and Content-Length."""
    match plan.status:
        case 200:
            return list(stored.fields)
        case 206 if len(plan.spans) == 1:
            content_range = format_content_range(plan.spans[0], stored.meta.length)
            return [*stored.fields, ("Content-Range", content_range)]
        case 206:
            multipart = ("Content-Type", f"multipart/byteranges; boundary={boundary}")
            return [multipart, *without(stored.fields, frozenset({"Content-Type"}))]
        case 304:
            return without(stored.fields, BODY_FIELDS)
        case _:
            fields = without(stored.fields, BODY_FIELDS | FRESHNESS_FIELDS)
            fields.append(("Cache-Control", "no-store"))
            if plan.status == 416:
                fields.append(("Content-Range", f"bytes */{stored.meta.length}"))
            return fields


def without(fields: tuple[tuple[str, str], ...], names: frozenset[str]) -> Fields:
    return [pair for pair in fields if pair[0] not in names]


def render(fields: Iterable[tuple[str, str]]) -> str:
    """Field lines as they go onto the wire."""
    return "".join([f"{name}: {value}\r\n" for name, value in fields])


def hit_head(stored: StoredResponse, plan: Plan, *, age: float) -> tuple[str, str]:
    """(field lines, Cache-Status) of a hit with at most one span: as `answer_fields`, but cheap."""
    status = f"edgecache; hit; ttl={int(stored.lifetime - age)}"
    if not plan.spans:
        head, length = render(answer_fields(stored, plan, "")), ""
    else:
        (span,) = plan.spans
        head, length = stored.head, length_line(len(span))
        if plan.status == 206:
            head += f"Content-Range: {format_content_range(span, stored.meta.length)}\r\n"
    return f"{head}Age: {int(age)}\r\nCache-Status: {status}\r\n{length}", status


def length_line(length: int | None) -> str:
    return "" if length is None else f"Content-Length: {length}\r\n"


def body_length(stored: StoredResponse, plan: Plan, boundary: str) -> int | None:
    """Content-Length, None for a 304, which has no body to describe."""
    match plan.spans:
        case ():
            return None if plan.status == 304 else 0
        case (span,):
            return len(span)
        case spans:
            return parts_length(boundary, stored.content_type, spans, stored.meta.length)
