"""Every family says what the code counted, and dollars are bytes times the configured prices."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgecache.config import Costs
from edgecache.core.model import FillStatus, Reason, Removal, Result, Source
from edgecache.metrics import Metrics

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
    metrics.removed(Removal.CORRUPT, 10)
    page = samples(metrics)
    assert page["edgecache_cache_evicted_bytes_total{reason=evicted}"] == 100
    assert page["edgecache_cache_evictions_total{reason=corrupt}"] == 1
    assert page["edgecache_integrity_failures_total{}"] == 1


def test_no_created_series_and_one_prefix() -> None:
    names = [name.partition("{")[0] for name in samples(Metrics(Costs()))]
    assert all(name.startswith("edgecache_") for name in names)
    assert not [name for name in names if name.endswith("_created")]
