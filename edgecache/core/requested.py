"""What clients asked for, read from an access log: edgecache's JSON or combined lines, or nginx's.

Rule of this module: bytes that nobody was sent are nobody's wish. A player asks for `bytes=0-` and
leaves after a minute, so of an open range, and of a whole object, the part counts that was sent.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from typing import NamedTuple

from edgecache.core.accesslog import LIMITS
from edgecache.core.errors import BadTarget
from edgecache.core.keys import resolve
from edgecache.core.model import ByteSpan
from edgecache.core.ranges import (
    BEYOND_ANY_OBJECT,
    MAX_RANGES,
    IntRange,
    RangeSpec,
    SuffixRange,
    parse_range,
)

COMBINED = re.compile(
    r'\S+ \S+ .*?\[[^\]]*\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>[0-9]{3}) (?P<bytes>[0-9]+|-)'
)
REQUEST = re.compile(r"GET (\S+)(?: HTTP/[0-9.]+)?")
NGINX_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")
ANSWERED = (200, 206, 304)


class Line(NamedTuple):
    """One answered GET. `range` is the request's field, "" for none, None: not in the log."""

    target: str
    status: int
    bytes: int
    range: str | None


def parse(line: str) -> Line | None:
    """None: not a line that tells of an object that was sent."""
    found = _parse_json(line) if line.startswith("{") else _parse_combined(line)
    # A path that fills its field may have been cut.
    if found is None or found.status not in ANSWERED or len(found.target) >= LIMITS["path"]:
        return None
    return found


def _parse_json(line: str) -> Line | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    match entry:
        case {
            "method": "GET",
            "path": str(path),
            "status": int(status),
            "bytes": int(count),
            "range": str(range_),
        }:
            return Line(path, status, count, range_)
        case _:
            return None


def _parse_combined(line: str) -> Line | None:
    """nginx writes a byte that is not plain as \\xHH, edgecache as JSON does."""
    if (found := COMBINED.match(line)) is None:
        return None
    request = NGINX_ESCAPE.sub(r"%\1", found["request"]).replace('\\"', '"')
    if "\\" in request or (asked := REQUEST.fullmatch(request)) is None:
        return None
    count = 0 if found["bytes"] == "-" else int(found["bytes"])
    return Line(asked[1], int(found["status"]), count, None)


class Demand:
    """How much of one object was asked for, and how often; in whole slices."""

    __slots__ = ("_starts", "_stops", "_suffix", "bytes", "requests", "unknown")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self.unknown = False  # some of it was asked for, but which part the log does not say
        self._suffix = 0
        self._starts: list[int] = []  # of spans apart from one another, in order
        self._stops: list[int] = []

    def count(self, line: Line, slice_size: int) -> None:
        self.requests += 1
        self.bytes += line.bytes
        if line.status == 304 or not line.bytes:
            return
        if line.status == 200:
            self._add(ByteSpan(0, line.bytes), slice_size)
            return
        specs = parse_range(line.range)
        if specs is None:
            self.unknown = True
        for spec in specs or ():
            self._count_range(spec, line.bytes, slice_size)

    def _count_range(self, spec: RangeSpec, sent: int, slice_size: int) -> None:
        match spec:
            case SuffixRange(length):
                self._suffix = max(self._suffix, min(length, sent))
            case IntRange(first, last) if first < BEYOND_ANY_OBJECT:
                # Of several ranges, `sent` has all: no more of each than was asked for.
                stop = first + sent if last is None else min(first + sent, last + 1)
                self._add(ByteSpan(first, stop), slice_size)
            case _:
                pass

    def _add(self, span: ByteSpan, slice_size: int) -> None:
        start = span.start - span.start % slice_size
        stop = -(-span.stop // slice_size) * slice_size
        # Those from `low` up to `high` touch it and become one with it.
        low, high = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high], self._stops[low:high] = [start], [stop]

    @property
    def distinct(self) -> int:
        """Bytes that were asked for, each counted once; what the log does not name is new each
        time."""
        known = sum(self._stops) - sum(self._starts) + self._suffix
        return min(self.bytes, max(known, self.bytes if self.unknown else 0))

    def ranges(self) -> Iterator[str]:
        """As Range fields, each with no more ranges than a request may have."""
        pairs = zip(self._starts, self._stops, strict=True)
        specs = [f"{start}-{stop - 1}" for start, stop in pairs]
        if self._suffix:
            specs.append(f"-{self._suffix}")
        for at in range(0, len(specs), MAX_RANGES):
            yield "bytes=" + ",".join(specs[at : at + MAX_RANGES])


class Requested:
    """The objects of a log: (bucket or None, key), as a request names them, and their demand."""

    def __init__(self, buckets: Collection[str], slice_size: int) -> None:
        self._buckets = buckets
        self._slice_size = slice_size
        self.objects: dict[tuple[str | None, str], Demand] = {}
        self.refused = 0  # lines that tell of nothing to warm

    def read(self, line: str) -> None:
        found = parse(line)
        if found is None:
            self.refused += 1
            return
        try:
            name = resolve(found.target, self._buckets)
        except BadTarget:
            self.refused += 1
            return
        self.objects.setdefault(name, Demand()).count(found, self._slice_size)

    def ranked(self, by: str) -> list[tuple[tuple[str | None, str], Demand]]:
        """Most asked for first, by "requests" or "bytes"; the earlier one of equals."""

        def weight(item: tuple[tuple[str | None, str], Demand]) -> int:
            return item[1].bytes if by == "bytes" else item[1].requests

        return sorted(self.objects.items(), key=weight, reverse=True)
