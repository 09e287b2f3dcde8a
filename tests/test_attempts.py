"""Requests that fail are repeated where that helps, and where it does no harm; an origin that fails
is left alone; nobody holds what others wait for."""

import asyncio
from contextlib import suppress

import pytest

from edgecache.core.breaker import BreakerState
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
from edgecache.core.model import ObjectKey, Reason
from edgecache.core.ranges import IntRange
from edgecache.core.reply import NotModified
from edgecache.core.retry import RESERVE, TRICKLE
from tests.attempting import FOUND, KEY, Bench, Held, answered
from tests.waiting import until

NEVER = 10_000  # failures that no test comes to


def busy(wish: int) -> EdgecacheError:
    error = UpstreamBusy("slow down", retry_after=max(1, wish))
    error.wish = wish
    return answered(503, error)


# Repetitions


async def test_502_twice_then_200_is_200() -> None:
    bench = Bench()
    bench.upstream.answers = [answered(502), answered(502), FOUND]
    answer = await bench.get()
    assert (answer.found, answer.reason) == (FOUND, Reason.RETRY)
    assert bench.slept == [0.2, 0.4]
    assert bench.metrics.total("origin_retries_total", reason="status") == 2
    assert bench.metrics.total("origin_requests_total") == 3
    answer.body.close()
    assert bench.turns == (0, 0)


async def test_what_is_answered_at_once_is_no_retry() -> None:
    bench = Bench()
    bench.upstream.answers = [FOUND]
    assert (await bench.get(Reason.PASSTHROUGH)).reason is Reason.PASSTHROUGH
    assert bench.turns == (1, 0)


async def test_it_is_repeated_as_often_as_configured() -> None:
    bench = Bench(retries=2)
    bench.upstream.always = UpstreamError("refused")
    assert (await bench.failure()).status == 502
    assert len(bench.upstream.asked) == 3
    assert bench.turns == (0, 0)


async def test_a_repetition_asks_the_same() -> None:
    bench = Bench()
    bench.upstream.answers = [UpstreamError("reset"), NotModified({}, 0, 0)]
    await bench.attempts.get(
        KEY, IntRange(5, 9), reason=Reason.REVALIDATE, if_match="m", if_none_match="n"
    )
    assert bench.upstream.asked == [(IntRange(5, 9), "m", "n")] * 2


@pytest.mark.parametrize(
    "error",
    [
        answered(404, NotFound("no")),
        answered(404),
        answered(400),
        answered(401, UpstreamDenied("no")),
        answered(403, UpstreamDenied("no")),
        answered(412, VersionChanged("new")),
        answered(416, RangeNotSatisfiable(6)),
        answered(206),
        busy(wish=30),
    ],
    ids=lambda error: f"{type(error).__name__} {error.forward_status}",
)
async def test_what_a_repetition_cant_mend_is_told_at_once(error: EdgecacheError) -> None:
    bench = Bench()
    bench.upstream.answers = [error]
    assert await bench.failure() is error
    assert (len(bench.upstream.asked), bench.slept) == (1, [])


async def test_an_origin_that_says_when_is_asked_then() -> None:
    bench = Bench()
    bench.upstream.answers = [busy(wish=3), FOUND]
    await bench.get()
    assert bench.slept == [3]


async def test_a_refusal_is_repeated_for_a_key_that_was_readable() -> None:
    bench = Bench()
    denied = answered(403, UpstreamDenied("no"))
    bench.upstream.answers = [FOUND, denied, denied, FOUND]
    for _ in range(2):
        (await bench.get()).body.close()
    assert bench.metrics.total("origin_retries_total", reason="denied") == 2
    bench.upstream.answers = [denied]
    other = KEY._replace(key="outputs/other")
    assert await bench.failure(key=other) is denied
    assert bench.attempts.state is BreakerState.CLOSED


async def test_after_the_time_of_one_attempt_there_is_none_more() -> None:
    bench = Bench(first_byte_timeout=110)
    times = iter([100.0, 100.0])

    async def late(*_: object, **__: object) -> None:
        bench.upstream.asked.append((None, "", ""))
        bench.now += next(times)
        raise answered(524, UpstreamTimeout("late"))

    bench.upstream.get = late  # type: ignore[assignment,method-assign]
    assert (await bench.failure()).status == 504
    assert len(bench.upstream.asked) == 2  # one at 0 s, one at 100 s; none at 200 s


async def test_a_dead_origin_gets_at_most_its_share_of_repetitions() -> None:
    bench = Bench(retry_share=0.2, breaker_failures=NEVER)
    bench.upstream.always = UpstreamError("refused")
    began, count = bench.now, 500
    for _ in range(count):
        await bench.failure()
    repetitions = len(bench.upstream.asked) - count
    assert repetitions == bench.metrics.total("origin_retries_total")
    most = 0.2 * count + RESERVE + TRICKLE * (bench.now - began)
    assert 0.2 * count <= repetitions <= most < 0.4 * count


async def test_without_a_budget_nothing_is_repeated() -> None:
    bench = Bench(retry_share=0)
    bench.upstream.always = UpstreamError("refused")
    await bench.failure()
    assert len(bench.upstream.asked) == 1


# Resumes


async def test_a_resume_is_one_request_with_the_same_budget() -> None:
    bench = Bench(retry_share=0.1, breaker_failures=NEVER)
    broken = UpstreamError("cut")
    bench.upstream.answers = [FOUND]
    range_ = IntRange(3, 5)
    answer = await bench.attempts.resume(
        KEY, range_, reason=Reason.WARM, error=broken, attempt=1, if_match="m"
    )
    assert (answer.reason, bench.slept) == (Reason.RESUME, [0.4])
    assert bench.upstream.asked == [(range_, "m", "")]
    assert bench.metrics.total("origin_retries_total") == 0  # it is no retry
    answer.body.close()
    bench.upstream.always = UpstreamTimeout("late")
    for _ in range(20):
        bench.now = 1000.0
        with suppress(UpstreamError):
            await bench.attempts.resume(KEY, range_, reason=Reason.DEMAND, error=broken, attempt=0)
    assert len(bench.upstream.asked) == RESERVE


@pytest.mark.parametrize(
    ("error", "attempt"), [(UpstreamError("cut"), 3), (VersionChanged("new"), 0)]
)
async def test_a_resume_that_is_none_gives_the_error_back(
    error: EdgecacheError, attempt: int
) -> None:
    bench = Bench(retries=3)
    with pytest.raises(EdgecacheError) as caught:
        await bench.attempts.resume(
            KEY, IntRange(3, 5), reason=Reason.DEMAND, error=error, attempt=attempt
        )
    assert caught.value is error
    assert bench.upstream.asked == []


# Turns


async def test_a_turn_is_held_until_the_body_is_closed() -> None:
    bench = Bench(connections=1)
    bench.upstream.always = FOUND
    answer = await bench.get()
    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(bench.get())
        await until(lambda: bench.turns == (1, 1))
        assert len(bench.upstream.asked) == 1
        assert await answer.body.read() == b"abc"
        answer.body.close()
        (await second).body.close()
    assert bench.turns == (0, 0)
    assert [body.closed for body in bench.upstream.bodies] == [1, 1]


async def test_no_more_at_a_time_than_the_origin_may_have() -> None:
    bench = Bench(connections=3, queue_timeout=5)
    bench.upstream.always = FOUND

    async def one() -> None:
        answer = await bench.get()
        await asyncio.sleep(0)
        answer.body.close()

    await asyncio.gather(*(one() for _ in range(50)))
    assert bench.upstream.most == 3
    assert bench.turns == (0, 0)


async def test_who_gets_no_turn_in_time_is_not_repeated() -> None:
    bench = Bench(connections=1, queue_timeout=0.01)
    bench.upstream.answers = [FOUND]
    answer = await bench.get()
    error = await bench.failure()
    assert (error.status, error.detail) == (503, "queue-timeout")
    assert (len(bench.upstream.asked), bench.attempts.state) == (1, BreakerState.CLOSED)
    answer.body.close()


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancelled_request_frees_its_turn_and_says_nothing(steps: int) -> None:
    """At each await: in the queue, before the head, between two attempts."""
    bench = Bench(connections=1, breaker_failures=1)
    bench.upstream.answers = [FOUND]
    holder = await bench.get()
    bench.upstream.answers = [answered(403, UpstreamDenied("no")), FOUND]
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        for step in range(steps):
            if step == 2:
                holder.body.close()
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            asking.result().body.close()
    holder.body.close()
    assert bench.turns == (0, 0)
    assert bench.attempts.state is BreakerState.CLOSED


# The breaker


def other(number: int) -> ObjectKey:
    """One object's failures alone do not open it."""
    return KEY._replace(key=f"outputs/{number}")


async def test_it_opens_serves_503_at_once_tries_once_and_closes() -> None:
    bench = Bench(retries=0, breaker_failures=5, breaker_pause=4)
    bench.upstream.always = UpstreamError("refused")
    for number in range(5):
        assert (await bench.failure(key=other(number))).status == 502
    bench.now += 1.5
    for _ in range(100):
        error = await bench.failure()
        assert isinstance(error, NotAsked)
        assert (error.status, error.detail, error.retry_after) == (503, "breaker-open", 3)
    assert len(bench.upstream.asked) == 5
    bench.now += 2.5
    bench.upstream.always = held = Held()
    async with asyncio.TaskGroup() as tasks:
        trial = tasks.create_task(bench.get())
        await bench.arrived(6)
        assert (await bench.failure()).detail == "breaker-open"
        held.gate.set()
        (await trial).body.close()
    (await bench.get()).body.close()
    assert bench.attempts.state is BreakerState.CLOSED


async def test_a_trial_that_fails_is_not_repeated() -> None:
    bench = Bench(breaker_failures=1, breaker_pause=4)
    bench.upstream.always = UpstreamError("refused")
    await bench.failure()
    assert len(bench.upstream.asked) == 1  # open at once
    bench.now += 4
    assert (await bench.failure()).status == 502
    assert (len(bench.upstream.asked), bench.slept) == (2, [])
    bench.now += 7.9
    assert (await bench.failure()).detail == "breaker-open"


async def test_who_waits_for_a_turn_when_it_opens_waits_no_longer() -> None:
    bench = Bench(connections=1, retries=0, breaker_failures=1, queue_timeout=60)
    bench.upstream.always = held = Held(then=UpstreamTimeout("late"))
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(bench.failure()) for _ in range(50)]
        await bench.arrived(1)
        held.gate.set()
    assert [one.result().status for one in asking] == [504] + [503] * 49
    assert (len(bench.upstream.asked), bench.turns) == (1, (0, 0))


async def test_bodies_that_break_open_it() -> None:
    bench = Bench(breaker_failures=2)
    for number in range(2):
        bench.upstream.answers = [FOUND]
        answer = await bench.get(key=other(number))
        bench.upstream.bodies[-1].left = [b"abc", UpstreamError("cut"), UpstreamError("cut")]
        assert await answer.body.read() == b"abc"
        assert bench.attempts.state is BreakerState.CLOSED
        for _ in range(2):  # which counts once
            with pytest.raises(UpstreamError):
                await answer.body.read()
        answer.body.close()
    assert (bench.attempts.state, bench.attempts.is_failing) == (BreakerState.OPEN, True)


async def test_an_origin_that_is_left_alone_is_failing_whatever_ended_last() -> None:
    """Who is told of it sends no head that the origin would have to stand in for."""
    bench = Bench(retries=0, breaker_failures=1, breaker_pause=4)
    bench.upstream.always = held = Held()
    async with asyncio.TaskGroup() as tasks:
        late = tasks.create_task(bench.get())
        await bench.arrived(1)
        bench.upstream.answers = [UpstreamError("refused")]
        await bench.failure(key=other(1))
        held.gate.set()
    late.result().body.close()
    assert (bench.attempts.state, bench.attempts.is_failing) == (BreakerState.OPEN, True)
    bench.now += 4
    assert bench.attempts.is_failing  # until a trial says otherwise
    (await bench.get()).body.close()
    assert not bench.attempts.is_failing


@pytest.mark.parametrize(
    "error",
    [
        answered(404, NotFound("no")),
        answered(403, UpstreamDenied("no")),
        answered(412, VersionChanged("new")),
        answered(416, RangeNotSatisfiable(6)),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_answer_is_an_origin_that_is_well(error: EdgecacheError) -> None:
    bench = Bench(retries=0, breaker_failures=1, breaker_pause=1)
    bench.upstream.always = error
    for _ in range(3):
        assert await bench.failure() is error
    bench.upstream.always = answered(500)
    for _ in range(3):  # of which half is three
        assert bench.attempts.state is BreakerState.CLOSED
        await bench.failure(key=KEY._replace(key="outputs/other"))
    assert bench.attempts.state is BreakerState.OPEN
    bench.upstream.always = error
    bench.now += 60
    assert await bench.failure() is error  # the trial
    assert await bench.failure() is error


async def test_a_trial_whose_client_left_is_another_ones() -> None:
    bench = Bench(retries=0, breaker_failures=1, breaker_pause=1)
    bench.upstream.answers = [UpstreamError("refused")]
    await bench.failure()
    bench.now += 1
    async with asyncio.TaskGroup() as tasks:
        trial = tasks.create_task(bench.get())
        await bench.arrived(2)
        trial.cancel()
    bench.upstream.answers = [FOUND]
    (await bench.get()).body.close()
    assert bench.attempts.state is BreakerState.CLOSED


# The end


async def test_close_closes_the_upstream() -> None:
    bench = Bench()
    await bench.attempts.close()
    assert bench.upstream.closed
