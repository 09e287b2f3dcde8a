"""Counts of client requests, as cheap as a hit needs them. Rule of this module: an event costs a
few additions; names and labels are put together when somebody asks for the page.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from edgecache.core.model import Result, Source

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)

REQUEST_LABELS = ("method", "code", "route", "result")


@dataclass(slots=True)
class Times:
    """Observations of one series: how many fell into each bucket, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), as the exposition format wants them."""
        bounds = [*map(floatToGoString, SECONDS), "+Inf"]
        running, buckets = 0, []
        for bound, count in zip(bounds, self.counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        return buckets


class Tally:
    """A collector: the four families of client requests."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int, str, Result], int] = {}
        self._duration: dict[tuple[str, Result], Times] = {}
        self._first_byte: dict[tuple[str, Result], Times] = {}
        self._bytes: dict[tuple[str, Source], int] = {}

    def start(self, route: str) -> None:
        """Series that are there from the start: rates see their first event."""
        for source in Source:
            self._bytes.setdefault((route, source), 0)

    def served(
        self, method: str, status: int, route: str, result: Result, seconds: float, first: float
    ) -> None:
        """One client request, ended."""
        request = (method, status, route, result)
        self._requests[request] = self._requests.get(request, 0) + 1
        series = (route, result)
        times = self._duration.get(series)
        if times is None:
            times = self._duration[series] = Times()
            self._first_byte[series] = Times()
        times.add(seconds)
        self._first_byte[series].add(first)

    def gave(self, route: str, source: Source, count: int) -> None:
        """`count` body bytes to a client."""
        self._bytes[route, source] = self._bytes.get((route, source), 0) + count

    @property
    def given(self) -> int:
        """All body bytes given to clients."""
        return sum(self._bytes.values())

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "edgecache_http_requests",
            "Client requests",
            labels=REQUEST_LABELS,
        )
        for (method, status, route, result), count in self._requests.items():
            requests.add_metric([method, str(status), route, result], count)
        given = CounterMetricFamily(
            "edgecache_client_body_bytes", "Body bytes given to clients", labels=["route", "source"]
        )
        for (route, source), count in self._bytes.items():
            given.add_metric([route, source], count)
        yield requests
        yield given
        yield histogram("http_request_duration_seconds", "Request to last byte", self._duration)
        yield histogram(
            "http_time_to_first_byte_seconds", "Request to first byte", self._first_byte
        )


def histogram(
    name: str, text: str, series: dict[tuple[str, Result], Times]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"edgecache_{name}", text, labels=["route", "result"])
    for (route, result), times in series.items():
        family.add_metric([route, result], times.buckets(), times.total)
    return family
