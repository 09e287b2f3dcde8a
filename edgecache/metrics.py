"""Every metric: name, type, help, labels. Rule: labels are bounded, never a key or a path."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from edgecache import __version__
from edgecache.board import Board
from edgecache.config import Costs
from edgecache.core.breaker import BreakerState
from edgecache.core.model import Broken, FillStatus, Reason, Removal, Waste
from edgecache.core.retry import Failure
from edgecache.families import PREFIX, Families, Others, Sums
from edgecache.reloads import Reloads
from edgecache.tally import Tally

GB = 1e9
METRICS_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one process, and a page of them for all.

    Counters and histograms are on `board`, which outlives the process, and count on from what is
    there; a page has their sums with the boards of `others`, the other processes. `tally` has what
    every request counts.
    """

    def __init__(
        self,
        costs: Costs,
        routes: Sequence[str] = (),
        board: Board | None = None,
        others: Others = (),
    ) -> None:
        self._costs = costs
        self._families = families = Families(board or Board.private(), others)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.tally = Tally(families)
        self.served, self.gave = self.tally.served, self.tally.gave
        self.hit_series = self.tally.hit_series
        self._describe_clients(families)
        self._describe_origin(families)
        self._describe_cache(families)
        self.reloads = Reloads(families)
        self._start_families(routes)

    def _describe_clients(self, families: Families) -> None:
        self.in_flight = families.gauge("http_requests_in_flight", "Requests being answered")
        self.connections = families.gauge("http_connections", "Open client connections")
        self.connections_refused = families.counter(
            "http_connections_refused", "Connections over listen.max_connections"
        )
        self.bad_requests = families.counter("http_bad_requests", "Requests that are not HTTP")

    def _describe_origin(self, families: Families) -> None:
        self._origin_bytes = families.counters(
            "origin_body_bytes", "Body bytes bought from the origin", ("route", "reason")
        )
        self._wasted_bytes = families.counters(
            "origin_wasted_bytes", "Body bytes bought, given to nobody and not stored", ("cause",)
        )
        self.origin_requests = families.counters(
            "origin_requests", "Requests to the origin, failed ones included", ("op", "code_class")
        )
        self.origin_first_byte = families.histograms(
            "origin_time_to_first_byte_seconds", "Origin request to its answer's head", ("op",)
        )
        self.origin_resumes = families.counters(
            "origin_resumes", "Requests for the rest of an answer that broke", ("reason",)
        )
        self.origin_retries = families.counters(
            "origin_retries", "Requests to the origin that repeat one that failed", ("reason",)
        )
        self.origin_hedges = families.counters(
            "origin_hedges", "Second requests because the first was late", ("won",)
        )
        self._breaker_state = self._gauge(
            "origin_breaker_state", "1 for the state that the breaker is in", ("origin", "state")
        )
        self._waiting = self._gauge(
            "origin_waiting", "Requests that wait for a turn at the origin", ("origin",)
        )
        self.origin_in_flight = self._gauge("origin_inflight", "Origin answers being read")
        self.collapsed = families.counter(
            "coalesced_requests", "Requests that shared another's origin read"
        )
        self.fills_active = self._gauge("fills_active", "Running fills")
        self.fills = families.counters("fills", "Fills by how they ended", ("end",))
        self.readahead_wasted = families.counter(
            "readahead_wasted_bytes", "Bytes fetched ahead whose readers left before them"
        )
        self.readahead_recovered = families.counter(
            "readahead_recovered_bytes", "Of those, bytes that others read later"
        )
        self.version_changes = families.counters(
            "version_changes", "Objects seen replaced at the origin", ("where",)
        )

    def _describe_cache(self, families: Families) -> None:
        self.evictions = families.counters("cache_evictions", "Slices removed", ("reason",))
        self.evicted_bytes = families.counters("cache_evicted_bytes", "Bytes removed", ("reason",))
        self.store_trouble = self._gauge(
            "store_trouble", "1 while the disk fails: /readyz says how"
        )
        self.indexes_lost = families.counter(
            "indexes_lost", "Indexes that could not be read, or went with their folder"
        )
        self.integrity_failures = families.counter(
            "integrity_failures", "Slices that did not match their checksum or identity"
        )
        self.cache_size = self._gauge("cache_size_bytes", "Bytes on disk, index included")
        self.cache_limit = self._gauge("cache_limit_bytes", "cache.size")
        self.cache_pressure = self._gauge(
            "cache_pressure_bytes", "Bytes of the limit that cache.min_free takes away"
        )
        self.cache_slices = self._gauge("cache_slices", "Slices on disk")
        self.disk_free = self._gauge(
            "disk_free_bytes", "Free space of the file system of cache.dir"
        )
        self.purges = families.counters("purges", "Purges asked for", ("kind", "mode", "end"))
        self._purged = families.counters("purged_objects", "Objects purged", ("mode",))
        self.access_log_dropped = families.counter(
            "access_log_dropped_lines", "Lines that the log could not take in time"
        )
        self.ready = self._gauge("ready", "1 if /readyz says so")
        self.build_info = self._gauge("build_info", "Always 1", ("version",))
        self.build_info.labels(__version__).set(1)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry)

    def _start_families(self, routes: Sequence[str]) -> None:
        """Series that are there from the start: rates see their first event."""
        for route in routes:
            self.tally.start(route)
            for why in Reason:
                self._origin_bytes.labels(route, why)
        for cause in Waste:
            self._wasted_bytes.labels(cause)
        for end in FillStatus:
            if end is not FillStatus.FILLING:
                self.fills.labels(end)
        for failure in Failure:
            self.origin_retries.labels(failure)
        for won in ("true", "false"):
            self.origin_hedges.labels(won)
        for broken in Broken:
            self.origin_resumes.labels(broken)
        for mode in ("hard", "soft"):
            self._purged.labels(mode)
        for reason in Removal:
            self.evictions.labels(reason)
            self.evicted_bytes.labels(reason)

    def reload(self, costs: Costs, routes: Sequence[str]) -> None:
        """Go by another config from now on."""
        self._costs = costs
        self._start_families(routes)

    def bought(self, route: str, reason: Reason, count: int) -> None:
        """`count` body bytes from the origin."""
        self._origin_bytes.labels(route, reason).inc(count)

    def wasted(self, cause: Waste, count: int) -> None:
        """`count` of the bytes that were bought are nobody's and nowhere."""
        self._wasted_bytes.labels(cause).inc(count)

    def show_origins(self, origins: Mapping[str, tuple[BreakerState, int]]) -> None:
        """Those of the present config, by name: the breaker's state and who waits."""
        self._breaker_state.clear()
        self._waiting.clear()
        for name, (now, waiting) in origins.items():
            self._waiting.labels(name).set(waiting)
            for state in BreakerState:
                self._breaker_state.labels(name, state).set(state is now)

    def removed(self, reason: Removal, count: int) -> None:
        self.evictions.labels(reason).inc()
        self.evicted_bytes.labels(reason).inc(count)
        if reason is Removal.CORRUPT:
            self.integrity_failures.inc()

    def purged(self, count: int, *, soft: bool) -> None:
        self._purged.labels("soft" if soft else "hard").inc(count)

    def collect(self) -> Iterator[Metric]:
        """What is on the boards: the families, and what follows from them."""
        sums = self._families.sums()
        yield from self._families.metrics(sums)
        yield from dollars(self._costs, sums)
        yield CounterMetricFamily(
            PREFIX + "board_dropped", "Additions that found no room", value=self._families.dropped
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def total(self, name: str, **labels: str) -> float:
        """The sum of a family's samples that carry `labels`, for /api/stats."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        )


def dollars(costs: Costs, sums: Sums) -> Iterator[Metric]:
    """Bytes times `costs.*`.

    Without edgecache every client byte would take the app platform's way and the origin's; with it
    the origin's bytes and this host's egress remain.
    """
    client, origin = (
        sum(count for (count,) in sums[name].values())
        for name in ("client_body_bytes", "origin_body_bytes")
    )
    avoided = CounterMetricFamily(
        PREFIX + "cost_avoided_dollars", "What client bytes would have cost", labels=["path"]
    )
    avoided.add_metric(["app_platform"], client * costs.app_platform / GB)
    avoided.add_metric(["origin"], client * costs.origin / GB)
    incurred = CounterMetricFamily(
        PREFIX + "cost_incurred_dollars", "What they cost instead", labels=["path"]
    )
    incurred.add_metric(["host"], client * costs.host / GB)
    incurred.add_metric(["origin"], origin * costs.origin / GB)
    yield avoided
    yield incurred
