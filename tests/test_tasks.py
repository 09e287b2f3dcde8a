"""Background tasks: none is lost, none fails in silence, none outlives its owner."""

import asyncio
import gc
import logging
import weakref

import pytest

from edgecache.tasks import Tasks


async def hang(started: asyncio.Event | None = None) -> None:
    if started is not None:
        started.set()
    await asyncio.Event().wait()


async def fail() -> None:
    raise RuntimeError("disk on fire")


async def test_a_task_survives_though_nobody_else_holds_it() -> None:
    """The loop keeps weak references: a task and what it awaits, held by nobody, are garbage."""
    tasks = Tasks()
    awaited: list[weakref.ref[asyncio.Future[None]]] = []

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        awaited.append(weakref.ref(future))
        await future

    tasks.spawn(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    future = awaited[0]()
    assert future is not None
    future.set_result(None)
    await asyncio.wait(tuple(tasks._running))
    assert len(tasks) == 0


async def test_a_task_has_its_name_and_gives_its_result() -> None:
    async def answer() -> int:
        return 42

    task = Tasks().spawn(answer(), name="answer")
    assert task.get_name() == "answer"
    assert await task == 42


async def test_a_failure_is_logged_with_its_name_and_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()
    task = tasks.spawn(fail(), name="revalidate")
    await asyncio.wait([task])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == ("task failed name=revalidate error=RuntimeError('disk on fire')")
    assert record.exc_info is not None
    assert len(tasks) == 0


async def test_close_cancels_what_still_runs_and_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, started, cleaned = Tasks(), asyncio.Event(), asyncio.Event()

    async def clean() -> None:
        try:
            await hang(started)
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    task = tasks.spawn(clean(), name="clean")
    await started.wait()
    await tasks.close()
    assert cleaned.is_set()
    assert task.cancelled()
    assert len(tasks) == 0
    assert caplog.records == []  # a cancellation is not a failure


async def test_close_ends_though_a_task_fails_while_it_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks, started = Tasks(), asyncio.Event()

    async def stumble() -> None:
        try:
            await hang(started)
        finally:
            await fail()

    tasks.spawn(stumble(), name="stumble")
    await started.wait()
    await tasks.close()
    assert [record.getMessage() for record in caplog.records] == [
        "task failed name=stumble error=RuntimeError('disk on fire')"
    ]


async def test_close_of_nothing_is_nothing() -> None:
    await Tasks().close()
