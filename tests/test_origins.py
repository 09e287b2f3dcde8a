"""Every request and byte of the origins is counted once, and a dead one is known."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from edgecache.config import Costs
from edgecache.config_fetch import Fetch
from edgecache.core.errors import (
    EdgecacheError,
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.index import Route
from edgecache.core.model import Reason
from edgecache.core.ranges import IntRange
from edgecache.core.reply import Found, NotModified
from edgecache.metrics import Metrics
from edgecache.origins import Origins
from edgecache.upstream import Body
from tests import serving
from tests.attempting import FOUND, KEY, Scripted, answered
from tests.reading import TARGET as OBJECT
from tests.reading import at_rest, fetch, put
from tests.serving import SLICE, Serve
from tests.waiting import until

serve = serving.serve

ROUTE = Route(label="/", ttl=60, browser_ttl=60)


class Bench:
    def __init__(self, **fetch: Any) -> None:
        self.metrics = Metrics(Costs())
        self.upstream = Scripted()
        self.origins = Origins(
            {"volume": self.upstream, "other": Scripted()},
            self.metrics,
            fetch=Fetch(**{"retry_delay": 0.001, "breaker_pause": 0.5} | fetch),
            connections={"other": 3, "volume": None},
        )

    async def get(self, reason: Reason = Reason.DEMAND) -> Body:
        _, body = await self.origins.get(KEY, IntRange(0, 5), route=ROUTE, reason=reason)
        return body

    async def fail(self, error: EdgecacheError) -> None:
        self.upstream.always = error
        with pytest.raises(type(error)):
            await self.get()

    def requests(self, code_class: str) -> float:
        return self.metrics.total("origin_requests_total", code_class=code_class)

    def breaker(self) -> list[str]:
        """The states that the gauge says of `volume`."""
        self.origins.refresh()
        states = ("closed", "open", "half-open")
        total = self.metrics.total
        return [s for s in states if total("origin_breaker_state", origin="volume", state=s)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_body_is_counted_as_it_is_read(bench: Bench) -> None:
    bench.upstream.answers = [FOUND]
    body = await bench.get(Reason.PASSTHROUGH)
    total, inflight = bench.metrics.total, "origin_inflight"
    assert (total("origin_body_bytes_total"), total(inflight)) == (0, 1)
    assert await body.read() == b"abc"
    assert total("origin_body_bytes_total", route="/", reason="passthrough") == 3
    body.close()
    assert (total("origin_body_bytes_total"), total(inflight)) == (3, 0)
    body.close()
    assert total(inflight) == 0
    assert bench.upstream.bodies[0].closed == 2


async def test_conditions_are_passed_on(bench: Bench) -> None:
    bench.upstream.answers = [NotModified({}, 0, 0)]
    await bench.origins.get(
        KEY, None, route=ROUTE, reason=Reason.REVALIDATE, if_match="m", if_none_match="n"
    )
    assert bench.upstream.asked == [(None, "m", "n")]
    assert bench.requests("3xx") == 1


@pytest.mark.parametrize(
    ("answer", "code_class"),
    [
        (FOUND, "2xx"),
        (NotModified({}, 0, 0), "3xx"),
        (answered(404, NotFound("no")), "4xx"),
        (answered(416, RangeNotSatisfiable(6)), "4xx"),
        (answered(412, VersionChanged("no")), "4xx"),
        (answered(403, UpstreamDenied("no")), "4xx"),
        (answered(500), "5xx"),
        (answered(503, UpstreamBusy("no")), "5xx"),
        (answered(206), "2xx"),
        (UpstreamError("refused"), "error"),
        (UpstreamTimeout("late"), "error"),
    ],
    ids=repr,
)
async def test_each_request_is_counted_by_its_answer(
    answer: Found | NotModified | EdgecacheError, code_class: str
) -> None:
    bench = Bench(retries=0)
    for _ in range(5):
        bench.upstream.answers = [answer]
        with suppress(EdgecacheError):
            (await bench.get()).close()
    assert bench.requests(code_class) == 5
    assert bench.metrics.total("origin_time_to_first_byte_seconds_count") == 5


async def test_a_repetition_is_counted_and_its_bytes_are_bought_for_it(bench: Bench) -> None:
    bench.upstream.answers = [answered(502), FOUND]
    body = await bench.get()
    await body.read()
    assert (bench.requests("5xx"), bench.requests("2xx")) == (1, 1)
    assert bench.metrics.total("origin_body_bytes_total", reason="retry") == 3
    body.close()


async def test_an_origin_that_fails_is_trouble_until_it_may_be_tried_again() -> None:
    bench = Bench(retries=0, breaker_failures=2)
    await bench.fail(UpstreamError("no"))
    assert (bench.origins.trouble(), bench.breaker()) == ("", ["closed"])
    await bench.fail(UpstreamError("no"))
    assert (bench.origins.trouble(), bench.breaker()) == ("origin failing: volume", ["open"])
    await bench.fail(NotAsked("no", detail="", retry_after=1))
    await until(lambda: not bench.origins.trouble())
    assert bench.breaker() == ["half-open"]
    bench.upstream.always = FOUND
    (await bench.get()).close()
    assert (bench.origins.trouble(), bench.breaker()) == ("", ["closed"])


async def test_an_origin_fails_from_its_first_failure_to_its_next_success() -> None:
    bench = Bench(retries=0)
    assert not bench.origins.is_failing("volume")
    await bench.fail(UpstreamError("no"))
    assert bench.origins.is_failing("volume")
    assert not bench.origins.is_failing("other")
    bench.upstream.always = FOUND
    (await bench.get()).close()
    assert not bench.origins.is_failing("volume")


async def test_each_origin_has_its_own_limit_and_its_own_breaker() -> None:
    bench = Bench(retries=0, breaker_failures=1, connections=7)
    assert [bench.origins.queue(name).limit for name in ("volume", "other")] == [7, 3]
    await bench.fail(UpstreamError("no"))
    bench.origins.refresh()
    total = bench.metrics.total
    assert total("origin_breaker_state", origin="other", state="closed") == 1
    assert total("origin_waiting", origin="other") == 0


async def test_a_cancelled_request_is_counted_and_says_nothing_of_the_origin() -> None:
    bench = Bench(breaker_failures=1)
    async with asyncio.TaskGroup() as tasks:
        for asking in [tasks.create_task(bench.get()) for _ in range(5)]:
            await asyncio.sleep(0)
            asking.cancel()
    assert bench.requests("error") == 5
    assert bench.metrics.total("origin_inflight") == 0
    assert bench.origins.trouble() == ""


async def test_close_closes_every_origin(bench: Bench) -> None:
    await bench.origins.close()
    assert bench.upstream.closed


# Through the whole of it


async def test_what_is_counted_is_what_the_origin_sent_to_the_byte(serve: Serve) -> None:
    """Whole reads, ranges, probes, revalidations, and what may not be stored."""
    async with serve(log={"access": "off"}) as site:
        put(site, 5)
        site.origin.put("outputs/private", b"x" * 70_000, headers={"Cache-Control": "no-store"})
        site.origin.put("outputs/empty", b"")
        for range_ in ("bytes=-1", f"bytes={2 * SLICE}-", "bytes=0-0", ""):
            await fetch(site, OBJECT, range_)
        await site.head(OBJECT)
        await site.head("/outputs/empty")
        await fetch(site, "/outputs/private", "bytes=5-60000")
        site.clock.advance(1e6)
        await fetch(site, OBJECT)
        site.origin.quirks.ignore_conditionals = True
        site.clock.advance(1e6)
        await fetch(site, OBJECT, "bytes=5-9")
        await at_rest(site)
        by_reason = [
            await site.metric("origin_body_bytes_total", reason=reason) for reason in Reason
        ]
        errors = sum(one.sent for one in site.origin.requests if one.status >= 400)
        assert sum(by_reason) == site.origin.body_bytes - errors
        assert await site.metric("origin_requests_total") == len(site.origin.requests)
