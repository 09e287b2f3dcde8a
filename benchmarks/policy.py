"""The eviction policies on request traces: byte and request miss ratios, beside LRU and Belady.

The real policy objects of edgecache, without a disk, by the clock of the trace. A cell is bytes
bought / bytes sent (above 1 where small ranges pull in whole slices), then requests that missed any
slice / requests. The cold start counts. Cache sizes are shares of the trace's footprint in 4 MiB
slices. Belady's knows the future. "vs reference" compares bytes with the figures in tests/data.

A trace is CSV, also gzipped, with the header `time,key,size,range`: seconds, the object, its
length, and `first-last` or nothing for all of it.

Example: python -m benchmarks.policy --trace tests/data/media-mini.csv.gz
"""

import argparse
import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmarks import report
from edgecache.core.model import SliceKey
from edgecache.core.policies import make_policy

DATA = Path(__file__).parent.parent / "tests" / "data"
MEDIA_MINI = DATA / "media-mini.csv.gz"
MIB = 2**20
SLICE_SIZES = (4, 1)  # MiB; the first is that of the footprint
SHARES = (0.1, 1.0, 10.0, 30.0)  # percent of the footprint
COLUMNS = ("Cache", "LRU", "LFUDA-C", "reference", "vs reference", "vs LRU", "Belady")


class Request(NamedTuple):
    time: int
    key: str
    size: int  # of the object, in bytes
    first: int
    last: int


class Demand(NamedTuple):
    """A request as the store sees it."""

    time: int
    sent: int  # bytes
    slices: list[tuple[SliceKey, int]]  # with their sizes


class Ratios(NamedTuple):
    of_bytes: float
    of_requests: float

    def __str__(self) -> str:
        return f"{self.of_bytes:.4f} / {self.of_requests:.4f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    trace: str
    slice_mib: int
    share: float
    limit: int  # bytes
    lru: Ratios
    lfuda: Ratios
    belady: Ratios
    reference: Ratios | None


class Cache(Protocol):
    """What a replay needs of a policy."""

    def __contains__(self, key: SliceKey) -> bool: ...

    def access(self, key: SliceKey, now: float) -> None: ...

    def add(self, key: SliceKey, size: int, now: float) -> object: ...


class Belady:
    """Evicts what is asked for again last of all. It must be asked as `demands` say, in order."""

    def __init__(self, demands: Sequence[Demand], limit: int) -> None:
        self._room = self._limit = limit
        self._next_uses = iter(next_uses(demands))
        self._due: dict[SliceKey, int] = {}
        self._sizes: dict[SliceKey, int] = {}
        self._farthest: list[tuple[int, SliceKey]] = []

    def __contains__(self, key: SliceKey) -> bool:
        return key in self._due

    def access(self, key: SliceKey, now: float) -> None:
        self._due[key] = due = next(self._next_uses)
        heappush(self._farthest, (-due, key))

    def add(self, key: SliceKey, size: int, now: float) -> None:
        if size > self._limit:
            next(self._next_uses)
            raise ValueError("does not fit")
        while self._room < size:
            due, victim = heappop(self._farthest)
            if self._due.get(victim) == -due:
                del self._due[victim]
                self._room += self._sizes[victim]
        self._sizes[key] = size
        self._room -= size
        self.access(key, now)


def next_uses(demands: Sequence[Demand]) -> list[int]:
    """Of each use of a slice, in order: the number of its next use."""
    keys = [key for demand in demands for key, _ in demand.slices]
    uses = [0] * len(keys)
    last: dict[SliceKey, int] = {}
    for number in reversed(range(len(keys))):
        uses[number] = last.get(keys[number], len(keys) + number)
        last[keys[number]] = number
    return uses


def requests(path: Path) -> Iterator[Request]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        next(lines)
        for line in lines:
            time, key, size, span = line.rstrip("\n").split(",")
            first, last = span.split("-") if span else ("0", str(int(size) - 1))
            yield Request(int(time), key, int(size), int(first), int(last))


def demands_of(path: Path, slice_size: int) -> list[Demand]:
    versions: dict[str, str] = {}
    slices: dict[SliceKey, tuple[SliceKey, int]] = {}  # one object each, to save memory
    demands = []
    for time, key, size, first, last in requests(path):
        version = versions.get(key)
        if version is None:
            version = versions[key] = blake2b(key.encode(), digest_size=16).hexdigest()
        needed = []
        for number in range(first // slice_size, last // slice_size + 1):
            one = SliceKey(version, number)
            needed.append(
                slices.setdefault(one, (one, min(size - number * slice_size, slice_size)))
            )
        demands.append(Demand(time, last - first + 1, needed))
    return demands


def footprint(demands: Sequence[Demand]) -> int:
    return sum(dict(one for demand in demands for one in demand.slices).values())


def replay(demands: Sequence[Demand], cache: Cache) -> Ratios:
    sent = bought = missed = 0
    for time, length, slices in demands:
        absent = 0
        for key, size in slices:
            if key in cache:
                cache.access(key, time)
                continue
            absent += size
            with suppress(ValueError):  # too large: passed through, as the store does
                cache.add(key, size, time)
        sent += length
        bought += absent
        missed += absent > 0
    return Ratios(bought / sent, missed / len(demands))


def references(trace: str, slice_mib: int) -> dict[float, Ratios]:
    known = json.loads((DATA / "reference.json").read_text("utf-8"))
    cells = known.get(trace, {}).get(str(slice_mib), {}).get("lfuda", {})
    return {float(share): Ratios(*ratios) for share, ratios in cells.items()}


def measure(path: Path) -> Iterator[Result]:
    whole = 0
    trace = path.name.partition(".")[0]
    for slice_mib in SLICE_SIZES:
        demands = demands_of(path, slice_mib * MIB)
        whole = whole or footprint(demands)
        reference = references(trace, slice_mib)
        for share in SHARES:
            limit = int(whole * share / 100)
            yield Result(
                trace=trace,
                slice_mib=slice_mib,
                share=share,
                limit=limit,
                lru=replay(demands, make_policy("lru", limit)),
                lfuda=replay(demands, make_policy("lfuda", limit)),
                belady=replay(demands, Belady(demands, limit)),
                reference=reference.get(share),
            )


def change(new: float, old: float) -> str:
    return f"{100 * (new / old - 1):+.1f} %"


def row(one: Result) -> list[str]:
    name = f"{one.share:g} %, {one.limit / 1e6:,.1f} MB, slices of {one.slice_mib} MiB"
    reference, versus = "", ""
    if one.reference:
        reference = str(one.reference)
        versus = change(one.lfuda.of_bytes, one.reference.of_bytes)
    better = change(one.lfuda.of_bytes, one.lru.of_bytes)
    return [name, str(one.lru), str(one.lfuda), reference, versus, better, str(one.belady)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trace", type=Path, action="append", metavar="FILE", help="more than once for several"
    )
    parser.add_argument("--json", action="store_true", help="everything measured, as JSON")
    options = parser.parse_args()
    found = {path: list(measure(path)) for path in options.trace or [MEDIA_MINI]}
    if options.json:
        report.show_json([asdict(one) for results in found.values() for one in results])
        return
    for path, results in found.items():
        report.show(path.name, {}, COLUMNS, [row(one) for one in results])


if __name__ == "__main__":
    main()
