"""How fills end: whole, left to others, refused by the disk, cut off by the origin or a bug."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edgecache import fill as fill_module
from edgecache.core.errors import Unwanted, UpstreamError, VersionChanged
from edgecache.core.model import FillStatus
from edgecache.fill import Fill, Source
from tests.filling import DATA, LENGTH, META, SIZE, Bench, Body, bytes_of, idle, read
from tests.waiting import until


@pytest.fixture
def bench() -> Bench:
    return Bench()


# What nobody waits for


async def test_one_whose_readers_left_before_it_was_asked_for_is_abandoned(bench: Bench) -> None:
    gate = asyncio.Event()

    async def ask() -> tuple[Source, range]:
        await gate.wait()
        raise Unwanted

    fill = bench.ask(ask, range(10))
    with fill.reader(10):
        await idle()
    gate.set()
    await bench.ended(FillStatus.ABANDONED)
    assert not fill.covers(0)


async def test_one_whose_rest_nobody_waits_for_is_abandoned(bench: Bench) -> None:
    body = Body(given=30)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        await idle()
    body.fail(Unwanted())
    await bench.ended(FillStatus.ABANDONED)
    assert (body.closed, bench.wasted) == (True, 30)


# What the store does not take


async def test_what_the_store_refuses_is_kept_until_the_reader_has_passed_it(bench: Bench) -> None:
    bench.takes = False
    body = Body()
    fill = bench.start(body, range(10))
    got = b""
    with fill.reader(10):
        for number in range(10):
            got += await read(fill.take(number))
            await idle()
            kept = [one for one in range(10) if fill.covers(one) and fill.take(number).complete]
            assert min(kept) == number
    assert got == DATA
    await bench.ended(FillStatus.DONE)


async def test_one_slice_at_a_time_is_on_its_way_to_a_slow_disk(bench: Bench) -> None:
    bench.disk.clear()
    fill = bench.start(Body(piece=SIZE), range(10))
    with fill.reader(10):
        fill.take(9)
        await idle()
        assert bench.most_storing == 1
        bench.disk.set()
        await bench.ended(FillStatus.DONE)
    assert len(bench.stored) == 10


async def test_what_waits_for_the_disk_while_it_is_purged_is_not_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.table, "_disk", asyncio.Semaphore(1))
    bench.disk.clear()
    first = bench.start(Body(piece=SIZE), range(1))
    await until(lambda: bench.storing == 1)
    second = Fill(META, range(1, 2), SIZE)
    buffer = second.take(1)
    buffer.feed(memoryview(bytes_of(1)))
    storing = bench.tasks.spawn(
        second._store(1, buffer, bench.sink, bench.table._disk), name="store"
    )
    await idle()
    second.keeps = False  # as `disown` says
    bench.disk.set()
    await storing
    with first.reader(1):
        await bench.ended(FillStatus.DONE)
    assert list(bench.stored) == [0]


async def test_fills_are_disowned_by_what_they_bring(bench: Bench) -> None:
    body = Body(given=0)
    fill = bench.start(body, range(10))
    kept = []
    for is_meant in (lambda meta: meta.key.key == "another", lambda meta: meta is META):
        bench.table.disown_if(is_meant)
        kept.append(fill.keeps)
    assert kept == [True, False]
    assert bench.table.find(META.version, 0) is None
    body.fail(UpstreamError("no"))
    await bench.ended(FillStatus.FAILED)


async def test_a_disk_that_hangs_is_done_without(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "DISK_PATIENCE", 0.01)
    bench.disk.clear()
    fill = bench.start(Body(piece=SIZE), range(10))
    got = b""
    with fill.reader(10):
        for number in range(10):
            got += await fill.take(number).wait(0, SIZE)
    assert got == DATA
    assert not bench.stored
    bench.disk.set()
    await bench.ended(FillStatus.DONE)
    assert set(bench.stored) == {0}


# How it ends badly


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (UpstreamError, FillStatus.FAILED),
        (VersionChanged, FillStatus.VERSION_CHANGED),
    ],
)
async def test_readers_get_the_bytes_that_came_and_then_the_error(
    bench: Bench, error: type[UpstreamError], end: FillStatus
) -> None:
    body = Body(given=SIZE + 10)
    fill = bench.start(body, range(10))
    with fill.reader(10), fill.reader(10):
        buffers = [fill.take(1), fill.take(1)]
        await idle()
        body.fail(error("cut"))
        for buffer in buffers:
            assert bytes(await buffer.wait(0, SIZE)) == bytes_of(1)[:10]
            with pytest.raises(error):
                await buffer.wait(10, SIZE)
        await bench.ended(end)
    assert sorted(bench.stored) == [0]
    assert body.closed
    assert not fill.covers(1)


async def test_that_the_version_is_no_more_is_told_before_a_reader_hears_of_it(
    bench: Bench,
) -> None:
    """Who plans again must not find it any more."""
    told: list[bool] = []
    body = Body(given=10)

    async def ask() -> tuple[Source, range]:
        return body, range(10)

    fill = Fill(META, range(10), SIZE, lambda: told.append(hearing.done()))
    bench.table.start(fill, ask, bench.sink)
    with fill.reader(10):
        hearing = bench.tasks.spawn(fill.take(0).wait(10, SIZE), name="reader")
        await idle()
        body.fail(VersionChanged("replaced"))
        with pytest.raises(VersionChanged):
            await hearing
    assert told == [False]


async def test_a_body_that_ends_early_is_an_error(bench: Bench) -> None:
    fill = bench.start(Body(DATA[:150]), range(10))
    with fill.reader(10), pytest.raises(UpstreamError, match="ended early"):
        await read(fill.take(1))
    await bench.ended(FillStatus.FAILED)
    assert sorted(bench.stored) == [0]


async def test_an_origin_that_cannot_be_asked_fails_all_readers(bench: Bench) -> None:
    async def ask() -> tuple[Source, range]:
        raise UpstreamError("refused")

    fill = bench.ask(ask, range(10))
    with fill.reader(10):
        results = await asyncio.gather(*map(read, [fill.take(0)] * 3), return_exceptions=True)
    assert [str(one) for one in results] == ["refused"] * 3
    await bench.ended(FillStatus.FAILED)


async def never() -> tuple[Source, range]:
    raise AssertionError("cancelled before its first step")


async def hang() -> tuple[Source, range]:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(("ask", "turns"), [(never, 0), (hang, 1)])
async def test_a_cancelled_fill_leaves_no_reader_waiting(
    bench: Bench, ask: Callable[[], Awaitable[tuple[Source, range]]], turns: int
) -> None:
    fill = bench.ask(ask, range(10))
    for _ in range(turns):
        await asyncio.sleep(0)
    with fill.reader(10):
        buffer = fill.take(0)
        await bench.tasks.close()
        with pytest.raises(UpstreamError, match="stopped"):
            await buffer.wait(0, 1)
    await bench.ended(FillStatus.FAILED)


async def test_a_bug_in_a_fill_leaves_no_reader_waiting(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(given=10)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        buffer = fill.take(0)
        await idle()
        body.fail(ZeroDivisionError("a bug"))
        with pytest.raises(UpstreamError, match="stopped"):
            await read(buffer)
    await bench.ended(FillStatus.FAILED)
    assert body.closed
    assert "ZeroDivisionError" in caplog.text


# Origins that send everything


async def test_an_origin_that_ignores_range_fills_what_it_sends(bench: Bench) -> None:
    fill = bench.start(Body(), range(7, 8), sent=range(10))
    with fill.reader(8):
        assert await read(fill.take(7)) == bytes_of(7)
        await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == list(range(8))


async def test_what_comes_before_the_wanted_slice_is_not_read_for_nobody(bench: Bench) -> None:
    body = Body(given=2 * SIZE + 10)
    fill = bench.start(body, range(7, 8), sent=range(10))
    with fill.reader(8):
        fill.take(7)
        await idle()
    body.give(LENGTH - body.given)
    await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0, 1, 2]


# Leaving slices to another fill


async def test_slices_far_ahead_can_be_left_to_another_fill(bench: Bench) -> None:
    body = Body(given=10)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        fill.take(0)
        await idle()
        fill.leave(6)
        assert [fill.covers(number) for number in (5, 6, 9)] == [True, False, False]
        assert bench.table.find(META.version, 6) is None
        body.give(LENGTH - 10)
        fill.take(5)
        await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0, 1, 2, 3, 4, 5]
    assert body.closed


async def test_slices_left_before_the_question_are_not_asked_for(bench: Bench) -> None:
    asked = []

    async def ask() -> tuple[Source, range]:
        asked.append(fill.numbers)
        return Body(), fill.numbers

    fill = bench.ask(ask, range(10))
    with fill.reader(10):
        fill.take(0)
        fill.leave(3)
        fill.take(2)
        await bench.ended(FillStatus.DONE)
    assert asked == [range(3)]
    assert sorted(bench.stored) == [0, 1, 2]


async def test_the_next_slice_is_not_left(bench: Bench) -> None:
    fill = bench.start(Body(given=10), range(10))
    await idle()
    assert fill.is_near(1)
    fill.leave(1)
    assert fill.covers(1)
    with fill.reader(0):
        await bench.tasks.close()


async def test_a_paused_fill_keeps_what_comes_next(bench: Bench) -> None:
    fill = bench.start(Body(), range(10))
    with fill.reader(10):
        fill.take(0)
        await idle()
        fill.leave(2)
        await idle()
        assert sorted(bench.stored) == [0]
        fill.advance(1)
        await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0, 1]


# What was bought in vain


async def test_a_slice_that_breaks_off_is_waste_but_for_what_readers_had(bench: Bench) -> None:
    body = Body(given=SIZE + 40, piece=SIZE)
    fill = bench.start(body, range(3))
    with fill.reader(3):
        await read(fill.take(0))
        assert bytes(await fill.take(1).wait(10, 25)) == bytes_of(1)[10:25]
        body.fail(UpstreamError("cut"))
        await bench.ended(FillStatus.FAILED)
        assert bench.wasted == 0  # the reader may still come for it
    assert bench.wasted == 40 - 15
    assert list(bench.stored) == [0]


async def test_what_a_fill_had_read_ahead_when_it_was_left_is_waste(bench: Bench) -> None:
    fill = bench.start(Body(piece=SIZE + 30), range(3))
    with fill.reader(1):
        await read(fill.take(0))
    await bench.ended(FillStatus.ABANDONED)
    assert bench.wasted == 30


async def test_what_the_store_refuses_is_waste_where_nobody_read_it(bench: Bench) -> None:
    bench.takes = False
    fill = bench.start(Body(), range(3))
    with fill.reader(3):
        await read(fill.take(0))
        await fill.take(1).wait(0, 10)
        fill.take(2)
        await bench.ended(FillStatus.DONE)
    assert bench.wasted == 90 + SIZE


async def test_what_is_stored_is_no_waste_though_nobody_read_it(bench: Bench) -> None:
    fill = bench.start(Body(), range(3))
    with fill.reader(3):
        fill.advance(2)
        await bench.ended(FillStatus.DONE)
    assert (bench.wasted, len(bench.stored)) == (0, 3)
