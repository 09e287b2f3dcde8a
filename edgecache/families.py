"""Counters, gauges and histograms whose numbers are on a board, and the sum over several boards.

Rule of this module: an event costs a few additions; names and labels are put together, and buckets
are summed up, when somebody asks for the page.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeAlias, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from edgecache.board import Board, Cells

PREFIX = "edgecache_"
# Floats, as the times are: a comparison of two kinds takes longer.
SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    120.0,
)
BOUNDS = [*map(floatToGoString, SECONDS), "+Inf"]
# Of a histogram's cells: how many fell into each bucket and over the last, then the sum in seconds.
SUM = len(BOUNDS)

Others: TypeAlias = Sequence[Board] | Callable[[], Iterable[Board]]
# The numbers of each family's series, by label values.
Sums: TypeAlias = dict[str, dict[tuple[str, ...], list[float]]]


class Count:
    """One series of a counter or a gauge."""

    __slots__ = ("cells",)

    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    def inc(self, n: float = 1) -> None:
        self.cells[0] += n

    def dec(self, n: float = 1) -> None:
        self.cells[0] -= n

    @property
    def value(self) -> float:
        """What this process counted, and its predecessors on the same board."""
        return self.cells[0]


class Times:
    """One series of a histogram of seconds."""

    __slots__ = ("cells",)

    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    def observe(self, seconds: float) -> None:
        self.cells[bisect_left(SECONDS, seconds)] += 1.0
        self.cells[SUM] += seconds


S = TypeVar("S")


class Labelled(Generic[S]):
    """The series of one family: each is there from its first mention."""

    def __init__(self, make: Callable[[tuple[str, ...]], S]) -> None:
        self._make = make
        self._series: dict[tuple[str, ...], S] = {}

    def labels(self, *values: str) -> S:
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._make(values)
        return series


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    text: str
    labels: tuple[str, ...]
    render: Callable[["Family", dict[tuple[str, ...], list[float]]], Metric]


class Families:
    """The families of one process, whose numbers are on `board`.

    `others` are the boards of other processes, never this one's own.
    """

    def __init__(self, board: Board, others: Others = ()) -> None:
        self._board = board
        self._others = others
        self._families: list[Family] = []

    def counter(self, name: str, text: str) -> Count:
        return self.counters(name, text, ()).labels()

    def counters(self, name: str, text: str, labels: tuple[str, ...]) -> Labelled[Count]:
        self._families.append(Family(name, text, labels, counter_metric))
        return Labelled(lambda values: Count(self._cells(name, values, 1)))

    def gauge(self, name: str, text: str) -> Count:
        """Zero again: what it said was true of the predecessor."""
        self._families.append(Family(name, text, (), gauge_metric))
        cells = self._cells(name, (), 1)
        cells[0] = 0.0
        return Count(cells)

    def histograms(self, name: str, text: str, labels: tuple[str, ...]) -> Labelled[Times]:
        self._families.append(Family(name, text, labels, histogram_metric))
        return Labelled(lambda values: Times(self._cells(name, values, SUM + 1)))

    def _cells(self, name: str, values: tuple[str, ...], count: int) -> Cells:
        return self._board.cells((name, *map(str, values)), count)

    def sums(self) -> Sums:
        """All boards' series, added up."""
        sums: Sums = {family.name: {} for family in self._families}
        for board in self._boards():
            for (family, *values), numbers in board.series():
                series, labels = sums.setdefault(family, {}), tuple(values)
                if labels in series:
                    numbers = [a + b for a, b in zip(series[labels], numbers, strict=True)]
                series[labels] = numbers
        return sums

    @property
    def dropped(self) -> float:
        return sum(board.dropped for board in self._boards())

    def _boards(self) -> Iterator[Board]:
        yield self._board
        yield from self._others() if callable(self._others) else self._others

    def metrics(self, sums: Sums) -> Iterator[Metric]:
        for family in self._families:
            yield family.render(family, sums[family.name])


def counter_metric(family: Family, series: dict[tuple[str, ...], list[float]]) -> Metric:
    metric = CounterMetricFamily(PREFIX + family.name, family.text, labels=family.labels)
    for labels, (count,) in series.items():
        metric.add_metric(labels, count)
    return metric


def gauge_metric(family: Family, series: dict[tuple[str, ...], list[float]]) -> Metric:
    metric = GaugeMetricFamily(PREFIX + family.name, family.text, labels=family.labels)
    for labels, (value,) in series.items():
        metric.add_metric(labels, value)
    return metric


def histogram_metric(family: Family, series: dict[tuple[str, ...], list[float]]) -> Metric:
    metric = HistogramMetricFamily(PREFIX + family.name, family.text, labels=family.labels)
    for labels, (*counts, seconds) in series.items():
        metric.add_metric(labels, buckets(counts), seconds)
    return metric


def buckets(counts: Sequence[float]) -> list[tuple[str, float]]:
    """(upper bound, observations up to it), as the exposition format wants them."""
    return list(zip(BOUNDS, accumulate(counts), strict=True))
