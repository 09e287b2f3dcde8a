"""Counts of client requests, as cheap as a hit needs them. Rule of this module: a request finds the
cells of all that it counts in one look, or its caller has kept them.
"""

from bisect import bisect_left

from edgecache.board import Cells
from edgecache.core.model import Result, Source
from edgecache.families import SECONDS, SUM, Families

REQUEST_LABELS = ("method", "code", "route", "result")


class Series:
    """What requests that ended alike count: made by a `Tally`, and good for as long."""

    __slots__ = ("_duration", "_first_byte", "_given", "_requests")

    def __init__(self, requests: Cells, duration: Cells, first_byte: Cells, given: Cells) -> None:
        self._requests = requests
        self._duration = duration
        self._first_byte = first_byte
        self._given = given

    def add(self, seconds: float, first: float, count: int) -> None:
        """One request: `seconds` to its last byte, `first` to its first, `count` body bytes."""
        self._requests[0] += 1.0
        bucket = bisect_left(SECONDS, seconds)
        cells = self._duration
        cells[bucket] += 1.0
        cells[SUM] += seconds
        cells = self._first_byte
        cells[bucket if first == seconds else bisect_left(SECONDS, first)] += 1.0
        cells[SUM] += first
        if count:
            self._given[0] += count


class Tally:
    """The four families of client requests."""

    def __init__(self, families: Families) -> None:
        self._requests = families.counters("http_requests", "Client requests", REQUEST_LABELS)
        self._bytes = families.counters(
            "client_body_bytes", "Body bytes given to clients", ("route", "source")
        )
        self._duration = families.histograms(
            "http_request_duration_seconds", "Request to last byte", ("route", "result")
        )
        self._first_byte = families.histograms(
            "http_time_to_first_byte_seconds", "Request to first byte", ("route", "result")
        )
        self._given: dict[tuple[str, Source], Cells] = {}
        self._served: dict[tuple[str, int, str, Result], Series] = {}
        self._hits: dict[tuple[str, int, str, Result], Series] = {}

    def start(self, route: str) -> None:
        """Series that are there from the start: rates see their first event."""
        for source in Source:
            self._bytes.labels(route, source)

    def hit_series(self, method: str, status: int, route: str, result: Result) -> Series:
        """For requests whose body bytes are from the cache. The caller may keep it."""
        key = (method, status, route, result)
        series = self._hits.get(key)
        if series is None:
            given = self._bytes.labels(route, Source.CACHE).cells
            series = self._hits[key] = self._series(method, status, route, result, given)
        return series

    def served(
        self, method: str, status: int, route: str, result: Result, seconds: float, first: float
    ) -> None:
        """One client request, ended. Its bytes are what `gave` is told."""
        key = (method, status, route, result)
        series = self._served.get(key)
        if series is None:
            series = self._served[key] = self._series(method, status, route, result, [0.0])
        series.add(seconds, first, 0)

    def gave(self, route: str, source: Source, count: int) -> None:
        """`count` body bytes to a client."""
        cells = self._given.get((route, source))
        if cells is None:
            cells = self._given[route, source] = self._bytes.labels(route, source).cells
        cells[0] += count

    def _series(self, method: str, status: int, route: str, result: Result, given: Cells) -> Series:
        return Series(
            self._requests.labels(method, str(status), route, result).cells,
            self._duration.labels(route, result).cells,
            self._first_byte.labels(route, result).cells,
            given,
        )
