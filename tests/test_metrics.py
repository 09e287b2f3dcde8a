"""Every family says what the code counted, and dollars are bytes times the configured prices."""

import mmap
import os
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgecache.board import Board
from edgecache.config import Costs
from edgecache.core.model import FillStatus, Reason, Removal, Result, Source
from edgecache.metrics import Metrics
from tests.forked import forked

PRICES = Costs(app_platform=0.21, host=0.01, origin=0.09)


def samples(metrics: Metrics) -> dict[str, float]:
    """`name{label=value,...}` -> value, of the page as Prometheus reads it."""
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": (
            sample.value
        )
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_bytes_saved_are_client_bytes_less_origin_bytes_by_route() -> None:
    metrics = Metrics(Costs())
    metrics.gave("/a/", Source.CACHE, 700)
    metrics.gave("/a/", Source.FILL, 300)
    metrics.bought("/a/", Reason.DEMAND, 400)
    metrics.gave("/b/", Source.PASSTHROUGH, 50)
    metrics.bought("/b/", Reason.PASSTHROUGH, 50)
    for route, saved in (("/a/", 600), ("/b/", 0)):
        client = metrics.total("client_body_bytes_total", route=route)
        assert client - metrics.total("origin_body_bytes_total", route=route) == saved


def test_dollars_are_bytes_times_prices() -> None:
    metrics = Metrics(PRICES)
    metrics.gave("/", Source.CACHE, 3 * 10**9)
    metrics.bought("/", Reason.DEMAND, 10**9)
    page = samples(metrics)
    assert {name: round(value, 9) for name, value in page.items() if "dollars" in name} == {
        "edgecache_cost_avoided_dollars_total{path=app_platform}": 0.63,
        "edgecache_cost_avoided_dollars_total{path=origin}": 0.27,
        "edgecache_cost_incurred_dollars_total{path=host}": 0.03,
        "edgecache_cost_incurred_dollars_total{path=origin}": 0.09,
    }


def test_a_request_is_one_count_and_one_observation_of_each_time() -> None:
    metrics = Metrics(Costs())
    for seconds in (0.004, 0.3):
        metrics.served("GET", 206, "/", Result.HIT, seconds, seconds / 2)
    page = samples(metrics)
    labels = "{code=206,method=GET,result=hit,route=/}"
    assert page[f"edgecache_http_requests_total{labels}"] == 2
    assert page["edgecache_http_request_duration_seconds_bucket{le=0.005,result=hit,route=/}"] == 1
    assert page["edgecache_http_request_duration_seconds_count{result=hit,route=/}"] == 2
    assert page["edgecache_http_time_to_first_byte_seconds_sum{result=hit,route=/}"] == (
        pytest.approx(0.152)
    )


def test_series_are_there_before_their_first_event() -> None:
    page = samples(Metrics(Costs()))
    for reason in Removal:
        assert page[f"edgecache_cache_evictions_total{{reason={reason}}}"] == 0
    ends = {end for end in FillStatus if end is not FillStatus.FILLING}
    for end in ends:
        assert page[f"edgecache_fills_total{{end={end}}}"] == 0


def test_a_removed_slice_counts_and_a_corrupt_one_is_an_integrity_failure() -> None:
    metrics = Metrics(Costs())
    metrics.removed(Removal.EVICTED, 100)
    for reason in (Removal.CORRUPT, Removal.MISSING, Removal.UNREAD):
        metrics.removed(reason, 10)
    page = samples(metrics)
    assert page["edgecache_cache_evicted_bytes_total{reason=evicted}"] == 100
    assert page["edgecache_cache_evictions_total{reason=corrupt}"] == 1
    assert page["edgecache_integrity_failures_total{}"] == 1


def test_no_created_series_and_one_prefix() -> None:
    names = [name.partition("{")[0] for name in samples(Metrics(Costs()))]
    assert all(name.startswith("edgecache_") for name in names)
    assert not [name for name in names if name.endswith("_created")]


# Several processes


def work(metrics: Metrics, events: int) -> None:
    """What `events` hits count, and other events now and then."""
    for n in range(events):
        metrics.in_flight.inc()
        metrics.hit_series("GET", 200, "/", Result.HIT).add(0.25, 0.125, 10**6)
        if n % 10 == 0:
            metrics.bad_requests.inc()
            metrics.bought("/", Reason.DEMAND, 10**6)
            metrics.origin_first_byte.labels("get").observe(0.5)
        metrics.in_flight.dec()


def expected(events: int, in_flight: int) -> dict[str, object]:
    labels = "{result=hit,route=/}"
    return {
        "edgecache_http_requests_total{code=200,method=GET,result=hit,route=/}": events,
        f"edgecache_http_request_duration_seconds_count{labels}": events,
        f"edgecache_http_request_duration_seconds_sum{labels}": events / 4,
        f"edgecache_http_time_to_first_byte_seconds_sum{labels}": events / 8,
        "edgecache_client_body_bytes_total{route=/,source=cache}": events * 10**6,
        "edgecache_origin_body_bytes_total{reason=demand,route=/}": events * 10**5,
        "edgecache_origin_time_to_first_byte_seconds_sum{op=get}": events / 20,
        "edgecache_http_bad_requests_total{}": events / 10,
        "edgecache_cost_incurred_dollars_total{path=host}": pytest.approx(events * 0.00001),
        "edgecache_cost_incurred_dollars_total{path=origin}": pytest.approx(events * 0.000009),
        "edgecache_http_requests_in_flight{}": in_flight,
        "edgecache_board_dropped_total{}": 0,
    }


def counted(metrics: Metrics) -> dict[str, float]:
    return {name: value for name, value in samples(metrics).items() if name in expected(0, 0)}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_process_loses_no_count_and_its_successor_counts_on() -> None:
    memories = [mmap.mmap(-1, Board.SIZE) for _ in range(2)]
    keeper = Metrics(PRICES, ["/"], Board.private(), [Board(memory) for memory in memories])
    ready, done = os.pipe()

    def worker(memory: mmap.mmap) -> None:
        metrics = Metrics(PRICES, ["/"], Board(memory))
        work(metrics, 1000)
        metrics.in_flight.inc()  # one that it will not end
        os.write(done, b"x")
        signal.pause()

    with forked(lambda: worker(memories[0])) as one, forked(lambda: worker(memories[1])):
        work(keeper, 500)
        assert [os.read(ready, 1) for _ in range(2)] == [b"x", b"x"]
        one.kill()
        assert one.wait() == -signal.SIGKILL
        assert counted(keeper) == expected(2500, in_flight=2)
        with forked(lambda: worker(memories[0])):
            assert os.read(ready, 1) == b"x"
            assert counted(keeper) == expected(3500, in_flight=2)
    os.close(ready)
    os.close(done)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_killed_while_it_counts_loses_at_most_that_event() -> None:
    memory = mmap.mmap(-1, Board.SIZE)
    keeper = Metrics(PRICES, others=lambda: [Board(memory)])
    told, tell = os.pipe()

    def count_for_ever() -> None:
        metrics = Metrics(PRICES, board=Board(memory))
        while True:
            metrics.bad_requests.inc()
            os.write(tell, b"x")

    with forked(count_for_ever) as child:
        heard = len(os.read(told, 1))
        while heard < 100:
            heard += len(os.read(told, 100))
        child.kill()
        child.wait()
    os.close(tell)
    while more := len(os.read(told, 65536)):
        heard += more
    os.close(told)
    total = keeper.total("http_bad_requests_total")
    assert total in (heard, heard + 1)
    Metrics(PRICES, board=Board(memory)).bad_requests.inc(10)
    assert keeper.total("http_bad_requests_total") == total + 10


def test_a_full_board_is_a_metric_not_an_error() -> None:
    metrics = Metrics(Costs(), ["/"], Board(mmap.mmap(-1, 4096)))
    for n in range(100):
        metrics.served("GET", 200, f"/{n}/", Result.HIT, 0.1, 0.1)
    dropped = metrics.total("board_dropped_total")
    assert dropped > 0
    # A request is five additions: one count, and a bucket and a sum of either time.
    added = metrics.total("http_requests_total")
    for name in ("http_request_duration_seconds", "http_time_to_first_byte_seconds"):
        added += 2 * metrics.total(f"{name}_count")
    assert added + dropped == 500
