"""W11: a reader, or all there is, stopped at each await in turn, and each step failing in turn."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from edgecache import fill as fill_module
from edgecache.core.errors import UpstreamError
from edgecache.slice_buffer import SliceBuffer
from tests.reading import alive
from tests.stack import SIZE, Stack, turn

RANGES = ["", f"bytes={2 * SIZE + 5}-{5 * SIZE}", "bytes=-10", "bytes=0-9, 4000-4999"]
NO_STORE = (("cache-control", "no-store"),)


@pytest.fixture(autouse=True)
def no_buffer_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fill_module, "FIRST_READER_LIMIT", 0.01)
    yield
    assert alive(SliceBuffer) == []


async def stopped_at(number: int, task: asyncio.Task[bytes]) -> bool:
    """Cancels the task after so many turns; False if it was done before."""
    for _ in range(number):
        await turn()
    if task.done():
        return False
    task.cancel()
    await asyncio.wait([task])
    return True


def data_of(stack: Stack, range_: str) -> bytes:
    whole = stack.upstream.data.read()
    return {
        "": whole,
        RANGES[1]: whole[2 * SIZE + 5 : 5 * SIZE + 1],
        "bytes=-10": whole[-10:],
    }.get(range_, b"")


async def check(stack: Stack, range_: str) -> None:
    """Nothing is left, and the next reader has it all."""
    await stack.at_rest()
    assert stack.leftovers() == {}
    body = await stack.read(range_)
    if wanted := data_of(stack, range_):
        assert body == wanted
    await stack.at_rest()
    assert stack.leftovers() == {}


@pytest.mark.parametrize("range_", RANGES)
async def test_a_reader_that_is_stopped_anywhere_leaves_nothing_behind(range_: str) -> None:
    for number in count():
        stack = Stack()
        async with asyncio.TaskGroup() as tasks:
            stopped = await stopped_at(number, tasks.create_task(stack.read(range_)))
        await check(stack, range_)
        if not stopped:
            break
    assert number > 15


@pytest.mark.parametrize("range_", RANGES[:3])
async def test_the_others_read_on_when_a_reader_is_stopped_anywhere(range_: str) -> None:
    for number in count():
        stack = Stack()
        async with asyncio.TaskGroup() as tasks:
            leader = tasks.create_task(stack.read(range_))
            followers = [tasks.create_task(stack.read(one)) for one in ("", range_)]
            stopped = await stopped_at(number, leader)
        assert [one.result() for one in followers] == [data_of(stack, ""), data_of(stack, range_)]
        await check(stack, range_)
        if not stopped:
            break
    assert number > 15


async def test_a_revalidation_that_is_stopped_anywhere_leaves_nothing_behind() -> None:
    for number in count():
        stack = Stack()
        await stack.read(RANGES[1])
        stack.clock.advance(1e6)
        async with asyncio.TaskGroup() as tasks:
            stopped = await stopped_at(number, tasks.create_task(stack.read()))
        await check(stack, "")
        if not stopped:
            break
    assert number > 15


async def test_a_passthrough_that_is_stopped_anywhere_leaves_nothing_behind() -> None:
    for number in count():
        stack = Stack()
        stack.upstream.fields = NO_STORE
        async with asyncio.TaskGroup() as tasks:
            stopped = await stopped_at(number, tasks.create_task(stack.read()))
        await check(stack, "")
        if not stopped:
            break
    assert number > 15


async def test_a_read_past_a_full_disk_that_is_stopped_anywhere_leaves_nothing_behind() -> None:
    for number in count():
        stack = Stack()
        stack.store.refuse_at = -2
        async with asyncio.TaskGroup() as tasks:
            stopped = await stopped_at(number, tasks.create_task(stack.read()))
        await check(stack, "")
        if not stopped:
            break
    assert number > 15


async def test_when_all_tasks_are_stopped_anywhere_no_reader_waits_for_ever() -> None:
    """The end of the process, at each turn of two readers."""
    for number in count():
        stack = Stack()
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(stack.failed_or_read()) for _ in range(2)]
            for _ in range(number):
                await turn()
            done = all(one.done() for one in readers)
            await stack.tasks.close()
            for one in readers:  # what they start from here on is stopped as well
                while not one.done():
                    await turn()
                    await stack.tasks.close()
        assert all(one.result() in (None, data_of(stack, "")) for one in readers)
        await stack.upstream.close()
        await stack.at_rest()
        assert stack.leftovers().keys() <= {"in flight"}
        if done:
            break
    assert number > 15


@pytest.mark.parametrize("fields", [(), NO_STORE], ids=["stored", "passed through"])
async def test_each_step_of_the_origin_fails_in_turn(fields: tuple[tuple[str, str], ...]) -> None:
    failures = 0
    for number in count(1):
        stack = Stack()
        stack.upstream.fields = fields
        stack.upstream.fail_at = number
        bodies = await asyncio.gather(*(stack.failed_or_read() for _ in range(3)))
        assert all(body in (None, data_of(stack, "")) for body in bodies)
        failures += None in bodies
        if stack.upstream.steps < number:
            break
        stack.upstream.fail_at = -1
        await check(stack, "")
    assert failures > 10


async def test_each_write_of_the_store_fails_in_turn() -> None:
    for number in range(1, 8):
        stack = Stack()
        stack.store.refuse_at = number
        bodies = await asyncio.gather(*(stack.read() for _ in range(3)))
        assert bodies == [data_of(stack, "")] * 3
        await check(stack, "")


async def test_a_bug_while_an_answer_is_taken_in_closes_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stack = Stack()

    def stumble(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(stack.lookup._catalog, "put", stumble)
        with pytest.raises(UpstreamError, match="stopped"):
            await stack.read()
    await check(stack, "")
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()
