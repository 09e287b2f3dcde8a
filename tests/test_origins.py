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
from edgecache.core.model import ByteSpan, ObjectMeta, Reason
from edgecache.core.ranges import IntRange
from edgecache.core.reply import Found, NotModified
from edgecache.core.turns import Priority
from edgecache.metrics import Metrics
from edgecache.origins import Origins
from edgecache.upstream import Body
from tests import serving
from tests.attempting import FOUND, KEY, Scripted, answered
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
    heads = 0 if code_class == "error" else 5
    assert bench.metrics.total("origin_time_to_first_byte_seconds_count") == heads


async def test_a_repetition_is_counted_and_its_bytes_are_bought_for_it(bench: Bench) -> None:
    bench.upstream.answers = [answered(502), FOUND]
    body = await bench.get()
    await body.read()
    assert (bench.requests("5xx"), bench.requests("2xx")) == (1, 1)
    assert bench.metrics.total("origin_body_bytes_total", reason="retry") == 3
    body.close()


async def test_an_origin_that_fails_is_trouble_but_not_while_a_trial_is_waited_for() -> None:
    """Who sends nobody to a server in trouble would never have it tried."""
    bench = Bench(retries=0, breaker_failures=1)
    assert (bench.origins.trouble(), bench.breaker()) == ("", ["closed"])
    await bench.fail(UpstreamError("no"))
    assert (bench.origins.trouble(), bench.breaker()) == ("origin failing: volume", ["open"])
    await bench.fail(NotAsked("no", detail="", retry_after=1))
    await until(lambda: bench.breaker() == ["half-open"])
    assert bench.origins.trouble() == ""
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
    assert (bench.requests("cancelled"), bench.requests("error")) == (5, 0)
    assert bench.metrics.total("origin_time_to_first_byte_seconds_count") == 0
    assert bench.metrics.total("origin_inflight") == 0
    assert bench.origins.trouble() == ""


@pytest.mark.parametrize("waits_for", ["its head", "its turn", "its repetition"])
async def test_what_is_asked_counts_as_being_read_from_before_its_turn(waits_for: str) -> None:
    """Else its connections would be closed under it, by another config."""
    bench = Bench(connections=1, retry_delay=60)
    if waits_for == "its repetition":
        bench.upstream.answers = [answered(502)]
    held = await bench.origins._attempts["volume"].queue.take(Priority.VIEWER)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        await asyncio.sleep(0)
        if waits_for != "its turn":
            held.close()
        asked = int(waits_for != "its turn")
        await until(lambda: len(bench.upstream.asked) == asked)
        await until(lambda: bench.requests("5xx") == (waits_for == "its repetition"))
        assert bench.origins.reading == 1
        asking.cancel()
    assert bench.origins.reading == 0


async def test_and_until_its_body_is_closed(bench: Bench) -> None:
    bench.upstream.answers = [FOUND]
    body = await bench.get()
    assert bench.origins.reading == 1
    body.close()
    assert bench.origins.reading == 0
    await bench.fail(answered(404, NotFound("no")))
    assert bench.origins.reading == 0


async def test_close_closes_every_origin(bench: Bench) -> None:
    await bench.origins.close()
    assert bench.upstream.closed


async def test_an_error_s_body_is_bought_for_what_its_request_was_and_wasted(bench: Bench) -> None:
    first, second = answered(502), answered(502)
    first.bought, second.bought = 700, 30
    bench.upstream.answers = [first, second, FOUND]
    (await bench.get()).close()
    total = bench.metrics.total
    assert total("origin_body_bytes_total", reason="demand", route="/") == 700
    assert total("origin_body_bytes_total", reason="retry", route="/") == 30
    assert total("origin_body_bytes_total") == total("origin_wasted_bytes_total") == 730
    assert total("origin_wasted_bytes_total", cause="error") == 730


@pytest.mark.parametrize(
    ("reason", "duplicates"),
    [(Reason.DEMAND, 4), (Reason.READAHEAD, 4), (Reason.RESUME, 4), (Reason.REVALIDATE, 0)],
)
async def test_bytes_that_are_here_already_are_duplicates(
    bench: Bench, reason: Reason, duplicates: int
) -> None:
    seen = []

    def here(meta: ObjectMeta, span: ByteSpan) -> int:
        seen.append(span)
        return min(span.stop, 4) - min(span.start, 4)

    bench.origins.here = here
    bench.upstream.answers = [FOUND]
    body = await bench.get(reason)
    while await body.read():
        pass
    body.close()
    total = bench.metrics.total
    assert total("origin_body_bytes_total", reason="duplicate") == duplicates
    assert total("origin_body_bytes_total", reason=reason) == 6 - duplicates
    assert seen[:2] == ([ByteSpan(0, 3), ByteSpan(3, 6)] if duplicates else [])


async def test_what_nobody_read_of_a_dropped_body_is_bought_and_wasted_once(bench: Bench) -> None:
    bench.upstream.answers = [FOUND]
    body = await bench.get()
    await body.read()
    bench.upstream.bodies[0].unread = 2
    for _ in range(2):
        body.close()
    assert bench.metrics.total("origin_body_bytes_total", reason="demand") == 5
    assert bench.metrics.total("origin_wasted_bytes_total", cause="unread") == 2
