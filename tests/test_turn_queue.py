"""A turn is held by one, given on at once, and never lost with who waited for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edgecache.core.errors import NotAsked
from edgecache.core.turns import Priority
from edgecache.turn_queue import Turn, TurnQueue
from tests.waiting import until

VIEWER, REVALIDATION, READAHEAD, WARM = Priority


@asynccontextmanager
async def waiting(
    queue: TurnQueue, priority: Priority = VIEWER
) -> AsyncIterator[asyncio.Task[Turn]]:
    """One who waits for a turn, as long as the test is inside."""
    before = queue.waiting
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(queue.take(priority))
        await until(lambda: queue.waiting > before)
        yield task
        task.cancel()


async def test_a_turn_that_is_closed_is_the_next_ones() -> None:
    queue = TurnQueue(1, 5)
    turn = await queue.take(VIEWER)
    async with waiting(queue) as next_one:
        turn.close()
        turn.close()  # once
        (await next_one).close()
    assert (queue.taken, queue.waiting) == (0, 0)


async def test_a_viewer_is_next_though_a_hundred_to_warm_came_before() -> None:
    queue = TurnQueue(1, 5)
    turn = await queue.take(VIEWER)
    order: list[str] = []

    async def take(name: str, priority: Priority) -> None:
        mine = await queue.take(priority)
        order.append(name)
        mine.close()

    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(take(f"warm {number}", WARM))
        await until(lambda: queue.waiting == 100)
        tasks.create_task(take("viewer", VIEWER))
        await until(lambda: queue.waiting == 101)
        turn.close()
    assert order[:2] == ["viewer", "warm 0"]
    assert queue.taken == 0


@pytest.mark.parametrize("priority", Priority)
async def test_nobody_waits_for_ever(priority: Priority) -> None:
    queue = TurnQueue(1, 0.01)
    turn = await queue.take(VIEWER)
    with pytest.raises(NotAsked) as caught:
        await queue.take(priority)
    assert (caught.value.detail, caught.value.retry_after) == ("queue-timeout", 1)
    turn.close()
    (await queue.take(priority)).close()


async def test_who_gives_up_leaves_the_queue() -> None:
    queue = TurnQueue(1, 5)
    turn = await queue.take(VIEWER)
    async with waiting(queue) as given_up, waiting(queue) as patient:
        given_up.cancel()
        await until(lambda: queue.waiting == 1)
        turn.close()
        (await patient).close()
    assert queue.taken == 0


async def test_who_gives_up_in_the_moment_of_its_turn_gives_it_on() -> None:
    queue = TurnQueue(1, 5)
    turn = await queue.take(VIEWER)
    async with waiting(queue) as given_up, waiting(queue) as patient:
        turn.close()
        given_up.cancel()  # it has the turn, and does not know yet
        (await patient).close()
        assert given_up.cancelled()
    assert (queue.taken, queue.waiting) == (0, 0)
    assert repr(queue) == "<Turns 0 of 1 taken, 0 wait>"


async def test_it_can_be_waited_for_that_viewers_have_few() -> None:
    queue = TurnQueue(8, 5)
    turns = [await queue.take(one) for one in (VIEWER, REVALIDATION, READAHEAD)]
    async with asyncio.TaskGroup() as tasks:
        few = [tasks.create_task(queue.viewers_below(2)) for _ in range(2)]
        for turn in turns[:2]:
            await asyncio.wait(few, timeout=0)
            assert not few[0].done()
            turn.close()
    turns[2].close()


async def test_what_is_warmed_is_no_viewer() -> None:
    queue = TurnQueue(8, 5)
    turn = await queue.take(WARM)
    await asyncio.wait_for(queue.viewers_below(1), 5)
    turn.close()


async def test_a_viewer_who_gives_up_waiting_is_none_any_more() -> None:
    queue = TurnQueue(1, 5)
    turn = await queue.take(WARM)
    async with waiting(queue) as viewer:
        few = asyncio.wait_for(queue.viewers_below(1), 5)
        viewer.cancel()
        await few
    turn.close()
