"""A request whose first byte is late is asked a second time: the first wins, the other ends."""

import asyncio
from typing import Any

import pytest

from edgecache.attempts import Answer
from edgecache.core.errors import (
    EdgecacheError,
    NotFound,
    Stopped,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
)
from edgecache.core.hedging import LEAST
from edgecache.core.model import Reason
from tests.attempting import FOUND, Bench, Held, Scene, answered
from tests.waiting import until


async def hedging(first: Scene, second: Scene, **fetch: Any) -> Bench:
    """One whose first bytes came at once up to now: the next that does not is late."""
    bench = Bench(**{"hedge_share": 1.0, "retries": 0} | fetch)
    for _ in range(LEAST):
        bench.upstream.answers = [FOUND]
        (await bench.get()).body.close()
    bench.upstream.asked.clear()
    bench.upstream.answers = [first, second]
    return bench


def hedges(bench: Bench) -> tuple[float, float]:
    """(won, lost)"""
    total = bench.metrics.total
    return total("origin_hedges_total", won="true"), total("origin_hedges_total", won="false")


async def ended(bench: Bench) -> None:
    """Nothing of theirs is left."""
    await until(lambda: bench.turns == (0, 0) and not bench.upstream.running)
    assert all(body.closed for body in bench.upstream.bodies)
    assert len(bench.attempts._tasks) == 0


async def test_the_second_wins_the_first_is_cancelled_and_its_turn_freed() -> None:
    bench = await hedging(Held(), FOUND)
    answer = await bench.get()
    assert (answer.found, answer.reason) == (FOUND, Reason.HEDGE)
    await until(lambda: bench.turns == (1, 0))  # the winner's, until its body is closed
    assert (bench.upstream.running, hedges(bench)) == (0, (1, 0))
    answer.body.close()
    await ended(bench)
    count = bench.metrics.total
    assert count("origin_requests_total", code_class="cancelled") == 1
    assert count("origin_requests_total", code_class="2xx") == LEAST + 1
    assert count("origin_time_to_first_byte_seconds_count") == LEAST + 1


async def test_the_first_may_still_win() -> None:
    held = Held()
    bench = await hedging(held, Held())
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        await bench.arrived(2)
        held.gate.set()
    assert asking.result().reason is Reason.DEMAND
    asking.result().body.close()
    await ended(bench)
    assert hedges(bench) == (0, 1)


async def test_both_at_once_are_the_first() -> None:
    held = Held()
    bench = await hedging(held, held)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        await bench.arrived(2)
        held.gate.set()
    assert asking.result().reason is Reason.DEMAND
    asking.result().body.close()
    await ended(bench)


@pytest.mark.parametrize(
    "second", [UpstreamError("refused"), answered(403, UpstreamDenied("no"))], ids=repr
)
async def test_a_second_that_fails_is_not_the_end_of_the_first(second: EdgecacheError) -> None:
    held = Held()
    bench = await hedging(held, second)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        await bench.arrived(2)
        await until(lambda: bench.upstream.running == 1)
        held.gate.set()
    asking.result().body.close()
    await ended(bench)
    assert hedges(bench) == (0, 1)


async def test_an_error_that_is_an_answer_wins_too() -> None:
    bench = await hedging(Held(), answered(404, NotFound("no")))
    assert isinstance(await bench.failure(), NotFound)
    await ended(bench)
    assert hedges(bench) == (1, 0)


async def test_both_failing_is_the_firsts_failure_and_may_be_repeated() -> None:
    held = Held(then=UpstreamTimeout("first"))
    bench = await hedging(held, UpstreamError("second"), retries=1)
    bench.upstream.answers.append(FOUND)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        await bench.arrived(2)
        held.gate.set()
    assert asking.result().reason is Reason.RETRY
    asking.result().body.close()
    assert bench.metrics.total("origin_retries_total", reason="timeout") == 1
    await ended(bench)


@pytest.mark.parametrize("gone", range(6))
async def test_a_client_that_leaves_ends_both(gone: int) -> None:
    bench = await hedging(Held(), Held())
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        for _ in range(gone):
            await asyncio.sleep(0)
        if gone == 5:
            await bench.arrived(2)
        asking.cancel()
    await ended(bench)


async def test_a_client_that_leaves_as_the_head_comes_leaves_no_body_open() -> None:
    held = Held()
    bench = await hedging(held, held)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.get())
        await bench.arrived(2)
        held.gate.set()
        await until(lambda: len(bench.upstream.bodies) > LEAST)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            asking.result().body.close()
    await ended(bench)


@pytest.mark.parametrize("case", ["no share", "few samples", "no turn", "others wait", "warm"])
async def test_without_need_or_means_there_is_no_hedge(case: str) -> None:
    held = Held()
    settings: dict[str, Any] = {"connections": 1} if case in ("no turn", "others wait") else {}
    if case == "no share":
        settings["hedge_share"] = 0.0
    bench = await hedging(held, held, **settings)
    if case == "few samples":
        bench = Bench(hedge_share=1.0, retries=0)
        bench.upstream.always = held
    reason = Reason.WARM if case == "warm" else Reason.DEMAND
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(bench.get(reason)) for _ in range(2 if "wait" in case else 1)]
        await bench.arrived(1)
        await asyncio.sleep(0.01)  # late is after no time here
        assert len(bench.upstream.asked) == 1
        held.gate.set()
        for one in asking:
            (await one).body.close()
    assert hedges(bench) == (0, 0)
    await ended(bench)


async def test_hedges_are_a_share_of_all_requests() -> None:
    bench = await hedging(FOUND, FOUND, hedge_share=0.1)
    bench.upstream.answers.clear()
    count = 100
    for _ in range(count):
        bench.upstream.answers = [Held(), FOUND]
        async with asyncio.TaskGroup() as tasks:
            asking: asyncio.Task[Answer] = tasks.create_task(bench.get())
            await asyncio.wait([asking], timeout=0.005)
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled():
                asking.result().body.close()
    won, lost = hedges(bench)
    assert count * 0.1 <= won + lost <= (count + LEAST) * 0.1
    await ended(bench)


async def test_one_whose_attempts_are_stopped_by_the_end_of_the_server_fails_as_an_answer() -> None:
    """It was not cancelled itself: who waits for it is to be told, not dropped."""
    bench = await hedging(Held(), Held())
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(bench.failure())
        await bench.arrived(2)
        await bench.attempts.close()
    assert isinstance(asking.result(), Stopped)
    await ended(bench)
