"""What to answer, from the request's fields and the stored response. Rule: positions and status
only; what is on disk is the engine's to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

from edgecache.core.conditions import Outcome, evaluate, range_applies
from edgecache.core.media_types import content_type
from edgecache.core.model import ByteSpan, ObjectMeta
from edgecache.core.ranges import IntRange, SuffixRange, parse_range, satisfy


@dataclass(frozen=True, slots=True)
class Plan:
    """`spans` is what the body carries: one for 200 and 206, several for multipart/byteranges."""

    status: int
    spans: tuple[ByteSpan, ...] = ()


def plan_answer(method: str, headers: Mapping[str, str], meta: ObjectMeta) -> Plan:
    """RFC 9110 §13.2.2: preconditions first, then Range, which only a GET has (§14.2)."""
    outcome = evaluate(headers, etag=meta.etag, last_modified=meta.last_modified)
    if outcome is Outcome.NOT_MODIFIED:
        return Plan(304)
    if outcome is Outcome.PRECONDITION_FAILED:
        return Plan(412)
    whole = whole_plan(meta.length)
    wanted = headers.get("Range")
    if method != "GET" or wanted is None:
        return whole
    specs = parse_range(wanted)
    if specs is None or not range_applies(
        headers.get("If-Range"),
        etag=meta.etag,
        last_modified=meta.last_modified,
        date=meta.date,
    ):
        return whole
    spans = satisfy(specs, meta.length)
    if not spans:
        return Plan(416)
    if not all(spans):  # an empty span (a suffix of an empty object) has no Content-Range
        return whole
    return Plan(206, spans)


@lru_cache(maxsize=1024)
def whole_plan(length: int) -> Plan:
    return Plan(200, (ByteSpan(0, length),))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSizes:
    """How much to ask the origin for at once, in bytes; multiples of `slice_size`.

    A viewer of a video often leaves after its first bytes, one of an image never does: `image_run`
    is the first run of images, `first_run` of everything else. Each further run is twice as long.
    """

    slice_size: int
    first_run: int
    image_run: int
    max_run: int

    def first(self, key: str) -> int:
        is_image = content_type(key, "").startswith("image/")
        return self.image_run if is_image else self.first_run

    def window(self, key: str, span: ByteSpan, length: int) -> int:
        """How far the first request for `span` may reach: to its end, if the client knows one."""
        return self.first(key) if span.stop == length else self.max_run


# Enough to learn everything but bytes.
PROBE = IntRange(0, 0)


def opening_range(method: str, headers: Mapping[str, str], key: str, sizes: RunSizes) -> IntRange:
    """What to ask for when nothing is known of the object, not even its length.

    Whole slices for a demand whose positions are known; one byte where the body may not be wanted
    at all (HEAD, a condition that may hold) or where its position depends on the length.
    """
    conditional = "If-None-Match" in headers or "If-Modified-Since" in headers
    if method != "GET" or conditional:
        return PROBE
    specs = parse_range(headers.get("Range"))
    match specs[0] if specs else IntRange(0, None):
        case SuffixRange():
            return PROBE
        case IntRange(first, last):
            start = first - first % sizes.slice_size
            if last is None:
                return IntRange(start, start + sizes.first(key) - 1)
            end = last - last % sizes.slice_size + sizes.slice_size
            return IntRange(start, min(end, start + sizes.max_run) - 1)
        case _ as never:
            assert_never(never)
