"""Byte ranges: RFC 9110 §14, and the arithmetic between spans and slices.

Rule of this module: positions only; no bytes of objects, no containers of headers, no I/O. The
inclusive positions of the RFC end here, everything else speaks of half-open `ByteSpan`s.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from edgecache.core.model import ByteSpan

# Enough for every player and PDF reader; "many small ranges" are an attack (RFC 9110 §17.15).
MAX_RANGES = 16

# [0-9], not \d: int() would also take Arabic or full-width digits, underscores and spaces.
RANGE_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)", re.I)
OWS = " \t"
BEYOND_ANY_OBJECT = 10**18


@dataclass(frozen=True, slots=True)
class IntRange:
    """`first-last`, inclusive as on the wire; `last` None is open-ended."""

    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class SuffixRange:
    """`-length`: the last `length` bytes."""

    length: int


RangeSpec = IntRange | SuffixRange


def parse_range(value: str | None) -> tuple[RangeSpec, ...] | None:
    """The specs of a Range field; None: there is none, or one to ignore (RFC 9110 §14.2).

    Ignored are other units, anything outside the grammar, last < first, and more than MAX_RANGES
    list elements, which are counted before any of them is looked at.
    """
    unit, equals, range_set = (value or "").strip(OWS).partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    elements = range_set.split(",", MAX_RANGES)
    if len(elements) > MAX_RANGES:
        return None
    if elements[0].strip(OWS) and elements[0][0] in OWS:
        return None  # OWS stands around commas only, not behind "="
    specs: list[RangeSpec] = []
    for element in elements:
        if not (text := element.strip(OWS)):
            continue  # RFC 9110 §5.6.1.2: empty list elements do not count
        if (spec := _parse_spec(text)) is None:
            return None
        specs.append(spec)
    return tuple(specs) or None


def _parse_spec(text: str) -> RangeSpec | None:
    if (match := RANGE_SPEC.fullmatch(text)) is None:
        return None
    first, last = match[1], match[2]
    if not first:
        return SuffixRange(_position(last)) if last else None
    if last and _magnitude(last) < _magnitude(first):
        return None
    return IntRange(_position(first), _position(last) if last else None)


def _position(digits: str) -> int:
    """A number of any length: more than 18 digits reach beyond any object, all the same."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 18 else BEYOND_ANY_OBJECT


def _magnitude(digits: str) -> tuple[int, str]:
    """Orders digits as numbers without making the numbers: int() refuses 5000 digits."""
    digits = digits.lstrip("0")
    return len(digits), digits


def select(spec: RangeSpec, length: int) -> ByteSpan | None:
    """The span that `spec` selects from `length` bytes; None: unsatisfiable.

    A suffix of an empty object is satisfiable and selects the empty span (RFC 9110 §14.1.2), which
    no Content-Range can express: the answer to it is a 200.
    """
    match spec:
        case IntRange(first, last):
            if first >= length:
                return None
            return ByteSpan(first, length if last is None else min(last + 1, length))
        case SuffixRange(suffix):
            return ByteSpan(max(length - suffix, 0), length) if suffix else None
        case _:
            assert_never(spec)


def satisfy(specs: Sequence[RangeSpec], length: int) -> tuple[ByteSpan, ...]:
    """The spans to answer with, none: 416.

    Overlapping and adjacent ones become one, at the place of the first of them, so the answer
    never has more bytes than the object (RFC 9110 §15.3.7.2).
    """
    spans = [span for spec in specs if (span := select(spec, length)) is not None]
    merged: list[tuple[int, ByteSpan]] = []  # (place in the request, span), by start
    for place, span in sorted(enumerate(spans), key=lambda item: item[1].start):
        if merged and span.start <= merged[-1][1].stop:
            before, last = merged.pop()
            place, span = min(place, before), ByteSpan(last.start, max(last.stop, span.stop))
        merged.append((place, span))
    return tuple(span for _, span in sorted(merged, key=lambda item: item[0]))


@dataclass(frozen=True, slots=True)
class ContentRange:
    """`span` None: an unsatisfied-range (`*/N`); `complete_length` None: unknown (`/*`)."""

    span: ByteSpan | None
    complete_length: int | None


def parse_content_range(value: str) -> ContentRange | None:
    """A Content-Range in bytes (RFC 9110 §14.4); None: malformed, or positions that make no sense.

    Stricter than `parse_range` in one thing: the origin has no business with more than 18 digits.
    """
    if (match := CONTENT_RANGE.fullmatch(value.strip(OWS))) is None:
        return None
    complete = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return None if complete is None else ContentRange(None, complete)
    first, last = int(match[1]), int(match[2])
    if last < first or (complete is not None and last >= complete):
        return None
    return ContentRange(ByteSpan(first, last + 1), complete)


def format_content_range(span: ByteSpan, length: int) -> str:
    """:raises ValueError: for an empty span, which has no last position."""
    if not span:
        raise ValueError("an empty span has no Content-Range")
    return f"bytes {span.start}-{span.stop - 1}/{length}"


def slices_of(span: ByteSpan, slice_size: int) -> range:
    """The numbers of the slices that cover `span`."""
    if not span:
        return range(0)
    return range(span.start // slice_size, -(-span.stop // slice_size))


def slice_span(number: int, slice_size: int, length: int) -> ByteSpan:
    """The bytes of slice `number` of an object of `length` bytes; the last one is short.

    :raises ValueError: when the object ends before that slice.
    """
    start = number * slice_size
    return ByteSpan(start, min(start + slice_size, length))


def part_head(boundary: str, content_type: str, span: ByteSpan, length: int) -> bytes:
    """What stands before the bytes of one part, from CRLF to the empty line (RFC 9110 §14.6)."""
    lines = (
        f"\r\n--{boundary}",
        f"Content-Type: {content_type}",
        f"Content-Range: {format_content_range(span, length)}",
        "\r\n",
    )
    # surrogateescape: a field value keeps the origin's bytes, as aiohttp decoded them.
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def parts_end(boundary: str) -> bytes:
    """What stands behind the last part."""
    return f"\r\n--{boundary}--\r\n".encode()


def parts_length(boundary: str, content_type: str, spans: Sequence[ByteSpan], length: int) -> int:
    """The Content-Length of the whole multipart/byteranges body."""
    parts = sum(len(part_head(boundary, content_type, span, length)) + len(span) for span in spans)
    return parts + len(parts_end(boundary))
