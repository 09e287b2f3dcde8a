"""The tally is what prometheus_client's own metrics would say of the same events."""

import random

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from edgecache.core.model import Result, Source
from edgecache.tally import SECONDS, Tally

REQUEST = ("method", "code", "route", "result")
SERIES = ("route", "result")


def page(registry: CollectorRegistry) -> list[str]:
    """The samples, in an order of their own."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if not line.startswith("#") and "_created" not in line)


def test_the_page_is_the_same_as_from_the_library() -> None:
    tally, ours, theirs = Tally(), CollectorRegistry(), CollectorRegistry()
    ours.register(tally)
    requests = Counter("edgecache_http_requests", "x", REQUEST, registry=theirs)
    given = Counter("edgecache_client_body_bytes", "x", ("route", "source"), registry=theirs)
    duration, first_byte = (
        Histogram(f"edgecache_http_{name}_seconds", "x", SERIES, registry=theirs, buckets=SECONDS)
        for name in ("request_duration", "time_to_first_byte")
    )
    chance = random.Random(7)
    for _ in range(500):
        method, status = chance.choice(["GET", "HEAD"]), chance.choice([200, 206, 404])
        route, result = chance.choice(["/", "/outputs/"]), chance.choice(list(Result))
        # Powers of two add up alike in any order, and some fall onto a bucket's bound.
        seconds, first = chance.choice([0.5, 2**-9, 0.25, 64.0, 256.0]), 2**-12
        tally.served(method, status, route, result, seconds, first)
        requests.labels(method, str(status), route, result).inc()
        duration.labels(route, result).observe(seconds)
        first_byte.labels(route, result).observe(first)
        source, count = chance.choice(list(Source)), chance.randrange(10**6)
        tally.gave(route, source, count)
        given.labels(route, source).inc(count)
    assert page(ours) == page(theirs)


def test_a_route_has_its_byte_series_from_the_start() -> None:
    tally, registry = Tally(), CollectorRegistry()
    registry.register(tally)
    tally.start("/")
    assert page(registry) == [
        f'edgecache_client_body_bytes_total{{route="/",source="{source}"}} 0.0'
        for source in sorted(Source)
    ]


def test_starting_again_forgets_nothing() -> None:
    tally = Tally()
    tally.gave("/", Source.CACHE, 5)
    tally.start("/")
    assert tally.given == 5
