"""Every metric: name, type, help, labels. Rule: labels are bounded, never a key or a path."""

from collections.abc import Iterator, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily

from edgecache import __version__
from edgecache.config import Costs
from edgecache.core.model import FillStatus, Reason, Removal
from edgecache.tally import SECONDS, Tally

GB = 1e9
METRICS_TYPE = CONTENT_TYPE_LATEST


class Dollars:
    """Bytes times `costs.*`, worked out when asked for.

    Without edgecache every client byte would take the app platform's way and the origin's; with it
    the origin's bytes and this host's egress remain.
    """

    def __init__(self, costs: Costs, tally: Tally, origin_bytes: Counter) -> None:
        self._costs = costs
        self._tally = tally
        self._origin_bytes = origin_bytes

    def collect(self) -> Iterator[CounterMetricFamily]:
        client, origin = self._tally.given, total(self._origin_bytes)
        avoided = CounterMetricFamily(
            "edgecache_cost_avoided_dollars", "What client bytes would have cost", labels=["path"]
        )
        avoided.add_metric(["app_platform"], client * self._costs.app_platform / GB)
        avoided.add_metric(["origin"], client * self._costs.origin / GB)
        incurred = CounterMetricFamily(
            "edgecache_cost_incurred_dollars", "What they cost instead", labels=["path"]
        )
        incurred.add_metric(["host"], client * self._costs.host / GB)
        incurred.add_metric(["origin"], origin * self._costs.origin / GB)
        yield avoided
        yield incurred


def total(counter: Counter) -> float:
    return sum(
        sample.value
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )


class Metrics:
    """One registry a process. `tally` has what every request counts."""

    def __init__(self, costs: Costs, routes: Sequence[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.tally = Tally()
        self.registry.register(self.tally)
        self.served, self.gave = self.tally.served, self.tally.gave
        self._describe_clients()
        self._describe_origin(costs)
        self._describe_cache()
        self._start_families(routes)

    def _describe_clients(self) -> None:
        self.in_flight = self._gauge("http_requests_in_flight", "Requests being answered")
        self.connections = self._gauge("http_connections", "Open client connections")
        self.connections_refused = self._counter(
            "http_connections_refused", "Connections over listen.max_connections"
        )
        self.bad_requests = self._counter("http_bad_requests", "Requests that are not HTTP")

    def _describe_origin(self, costs: Costs) -> None:
        self._origin_bytes = self._counter(
            "origin_body_bytes", "Body bytes bought from the origin", ("route", "reason")
        )
        self.registry.register(Dollars(costs, self.tally, self._origin_bytes))
        self.origin_requests = self._counter(
            "origin_requests", "Requests to the origin, failed ones included", ("op", "code_class")
        )
        self.origin_first_byte = self._histogram(
            "origin_time_to_first_byte_seconds", "Origin request to its answer's head", ("op",)
        )
        self.origin_in_flight = self._gauge("origin_inflight", "Origin answers being read")
        self.collapsed = self._counter(
            "coalesced_requests", "Requests that shared another's origin read"
        )
        self.fills_active = self._gauge("fills_active", "Running fills")
        self.fills = self._counter("fills", "Fills by how they ended", ("end",))
        self.version_changes = self._counter(
            "version_changes", "Objects seen replaced at the origin", ("where",)
        )

    def _describe_cache(self) -> None:
        self.evictions = self._counter("cache_evictions", "Slices removed", ("reason",))
        self.evicted_bytes = self._counter("cache_evicted_bytes", "Bytes removed", ("reason",))
        self.integrity_failures = self._counter(
            "integrity_failures", "Slices that did not match their checksum or identity"
        )
        self.cache_size = self._gauge("cache_size_bytes", "Bytes on disk, index included")
        self.cache_limit = self._gauge("cache_limit_bytes", "cache.size")
        self.cache_slices = self._gauge("cache_slices", "Slices on disk")
        self.disk_free = self._gauge(
            "disk_free_bytes", "Free space of the file system of cache.dir"
        )
        self.access_log_dropped = self._counter(
            "access_log_dropped_lines", "Lines that the log could not take in time"
        )
        self.ready = self._gauge("ready", "1 if /readyz says so")
        self.build_info = self._gauge("build_info", "Always 1", ("version",))
        self.build_info.labels(__version__).set(1)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"edgecache_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"edgecache_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(f"edgecache_{name}", text, labels, registry=self.registry, buckets=SECONDS)

    def _start_families(self, routes: Sequence[str]) -> None:
        """Series that are there from the start: rates see their first event."""
        for route in routes:
            self.tally.start(route)
            for why in Reason:
                self._origin_bytes.labels(route, why)
        for end in FillStatus:
            if end is not FillStatus.FILLING:
                self.fills.labels(end)
        for reason in Removal:
            self.evictions.labels(reason)
            self.evicted_bytes.labels(reason)

    def bought(self, route: str, reason: Reason, count: int) -> None:
        """`count` body bytes from the origin."""
        self._origin_bytes.labels(route, reason).inc(count)

    def removed(self, reason: Removal, count: int) -> None:
        self.evictions.labels(reason).inc()
        self.evicted_bytes.labels(reason).inc(count)
        if reason is Removal.CORRUPT:
            self.integrity_failures.inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def total(self, name: str, **labels: str) -> float:
        """The sum of a family's samples that carry `labels`, for /api/stats."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == f"edgecache_{name}" and labels.items() <= sample.labels.items()
        )
