"""What nobody waits for any more takes no turn, no repetition and no share of any budget."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from edgecache.attempts import Answer
from edgecache.core.errors import Unwanted, UpstreamError
from edgecache.core.hedging import LEAST
from edgecache.core.model import Reason
from edgecache.core.ranges import IntRange
from tests.attempting import FOUND, KEY, Bench, Held, answered
from tests.waiting import until


class Reader:
    """Waits for it, until it leaves."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.waits = True

    def is_wanted(self) -> bool:
        return self.waits

    async def get(self) -> Answer:
        return await self.bench.attempts.get(
            KEY, None, reason=Reason.DEMAND, is_wanted=self.is_wanted
        )

    async def leaves(self) -> bool:
        """Whether that is how it ended."""
        try:
            (await self.get()).body.close()
        except Unwanted:
            return True
        return False

    async def resume(self) -> Answer:
        return await self.bench.attempts.resume(
            KEY,
            IntRange(3, 5),
            reason=Reason.DEMAND,
            error=UpstreamError("cut"),
            attempt=0,
            is_wanted=self.is_wanted,
        )


async def test_a_turn_that_comes_too_late_is_anothers() -> None:
    bench = Bench(connections=1)
    bench.upstream.always = FOUND
    holder = await bench.get()
    reader = Reader(bench)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(reader.leaves())
        another = tasks.create_task(bench.get())
        await until(lambda: bench.turns == (1, 2))
        reader.waits = False
        holder.body.close()
        (await another).body.close()
        assert await asking
    assert (len(bench.upstream.asked), bench.turns) == (2, (0, 0))


async def test_what_failed_is_not_repeated() -> None:
    bench = Bench(retry_share=0.001)
    reader = Reader(bench)
    for number in range(20):
        reader.waits = True
        held = Held(then=answered(502))
        bench.upstream.answers = [held]
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(reader.leaves())
            await bench.arrived(number + 1)
            reader.waits = False
            held.gate.set()
        assert asking.result()
    assert (len(bench.upstream.asked), bench.slept) == (20, [])
    bench.upstream.answers = [answered(502), FOUND]
    (await bench.get()).body.close()  # the budget is as it was


@pytest.mark.parametrize("kind", ["get", "resume"])
async def test_who_leaves_during_the_wait_to_repeat_is_not_asked_for(kind: str) -> None:
    bench = Bench()
    reader = Reader(bench)
    slept = bench._sleep

    async def sleep(seconds: float) -> None:
        reader.waits = False
        await slept(seconds)

    bench.attempts._sleep = sleep
    bench.upstream.answers = [answered(502)] if kind == "get" else []
    with pytest.raises(Unwanted):
        await (reader.get() if kind == "get" else reader.resume())
    assert len(bench.slept) == 1
    assert (bench.upstream.answers, bench.turns) == ([], (0, 0))
    assert bench.metrics.total("origin_retries_total") == 0


async def test_who_comes_while_it_is_given_up_is_asked_for() -> None:
    """The end of one of two requests is known a moment after it."""
    bench = Bench(connections=1, hedge_share=1.0)
    for _ in range(LEAST):
        bench.upstream.answers = [FOUND]
        (await bench.get()).body.close()
    bench.upstream.always = FOUND
    wanted: Iterator[bool] = chain([False], repeat(True))
    answer = await bench.attempts.get(
        KEY, None, reason=Reason.DEMAND, is_wanted=lambda: next(wanted)
    )
    answer.body.close()
    assert bench.turns == (0, 0)
