"""The tally is what prometheus_client's own metrics would say of the same events."""

import random

from prometheus_client import CollectorRegistry, Counter, Histogram

from edgecache.board import Board
from edgecache.core.model import Result, Source
from edgecache.families import SECONDS, Families
from edgecache.tally import Tally
from tests.pages import page_of, samples

REQUEST = ("method", "code", "route", "result")
SERIES = ("route", "result")


def test_the_page_is_the_same_as_from_the_library() -> None:
    families, theirs = Families(Board.private()), CollectorRegistry()
    tally = Tally(families)
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
        source, count = chance.choice(list(Source)), chance.randrange(10**6)
        if source is Source.CACHE:
            tally.hit_series(method, status, route, result).add(seconds, first, count)
        else:
            tally.served(method, status, route, result, seconds, first)
            tally.gave(route, source, count)
        requests.labels(method, str(status), route, result).inc()
        duration.labels(route, result).observe(seconds)
        first_byte.labels(route, result).observe(first)
        given.labels(route, source).inc(count)
    assert page_of(families) == samples(theirs)


def test_a_route_has_its_byte_series_from_the_start() -> None:
    families = Families(Board.private())
    Tally(families).start("/")
    assert page_of(families) == [
        f'edgecache_client_body_bytes_total{{route="/",source="{source}"}} 0.0'
        for source in sorted(Source)
    ]


def test_starting_again_forgets_nothing() -> None:
    families = Families(Board.private())
    tally = Tally(families)
    tally.gave("/", Source.CACHE, 5)
    tally.start("/")
    assert 'edgecache_client_body_bytes_total{route="/",source="cache"} 5.0' in page_of(families)


def test_a_request_without_a_body_names_no_source() -> None:
    families = Families(Board.private())
    Tally(families).served("GET", 403, "-", Result.ERROR, 0.1, 0.1)
    assert not [line for line in page_of(families) if "body_bytes" in line]


def test_a_kept_series_is_the_one_that_is_asked_for() -> None:
    tally = Tally(Families(Board.private()))
    kept = tally.hit_series("GET", 200, "/", Result.HIT)
    assert tally.hit_series("GET", 200, "/", Result.HIT) is kept
    assert tally.hit_series("GET", 206, "/", Result.HIT) is not kept
