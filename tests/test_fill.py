"""A fill and its readers: they are served as the bytes come, and it keeps in step with them."""

import asyncio

import pytest

from edgecache import fill as fill_module
from edgecache.core.model import FillStatus
from edgecache.fill import Fill, Source
from tests.filling import DATA, LENGTH, META, SIZE, Bench, Body, bytes_of, idle, read
from tests.waiting import until


@pytest.fixture
def bench() -> Bench:
    return Bench()


# A fill and its readers


@pytest.mark.parametrize("piece", [1, 7, SIZE, SIZE + 1, 3 * SIZE, LENGTH])
async def test_a_fill_stores_every_slice_however_the_bytes_come(bench: Bench, piece: int) -> None:
    body = Body(piece=piece)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        for number in range(10):
            if number in bench.stored:
                fill.advance(number)
            else:
                assert await read(fill.take(number)) == bytes_of(number)
    await bench.ended(FillStatus.DONE)
    assert b"".join(bench.stored[number] for number in range(10)) == DATA
    assert body.closed


async def test_a_fill_begins_no_slice_that_its_foremost_reader_has_not_come_to(
    bench: Bench,
) -> None:
    body = Body(piece=SIZE)
    fill = bench.start(body, range(10))
    with fill.reader(10), fill.reader(10):
        fill.take(0)
        for number in (1, 2, 5):
            await idle()
            fill.advance(number)
            await idle()
            assert body.position == (number + 1) * SIZE
            assert bench.most_storing == 1


async def test_a_reader_served_from_the_store_moves_the_fill_on(bench: Bench) -> None:
    body = Body(piece=SIZE)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        fill.take(0)
        await idle()
        fill.advance(1)  # read from the store, not from the fill
        await idle()
        assert body.position == 2 * SIZE


async def test_no_slice_is_begun_while_too_many_wait_for_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fill_module, "MOST_STORING", 2)
    bench = Bench()
    bench.disk.clear()
    for number in range(2):
        bench.start(Body(), range(number, number + 1))
    await idle()
    late = Body()
    bench.start(late, range(2, 3))
    await idle()
    assert (bench.storing, late.position) == (2, 0)
    bench.disk.set()
    await bench.ended(*[FillStatus.DONE] * 3)
    assert sorted(bench.stored) == [0, 1, 2]


async def test_without_readers_a_fill_ends_with_the_slice_in_flight(bench: Bench) -> None:
    body = Body(given=3 * SIZE + 10)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        fill.take(3)
        await idle()
    await idle()
    assert len(bench.table) == 1  # slice 3 has begun: it is paid for
    body.give(6 * SIZE)
    await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0, 1, 2, 3]
    assert body.position == 4 * SIZE
    assert body.closed


async def test_a_fill_ends_where_no_reader_wants_more(bench: Bench) -> None:
    body = Body()
    fill = bench.start(body, range(10))
    with fill.reader(3), fill.reader(5):
        fill.take(4)
        await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0, 1, 2, 3, 4]


async def test_the_leader_leaves_and_a_follower_has_the_rest(bench: Bench) -> None:
    body = Body(given=50)
    fill = bench.start(body, range(10))
    with fill.reader(10):
        with fill.reader(10):
            fill.take(0)
            await idle()
        body.give(LENGTH)
        for number in range(10):
            if number not in bench.stored:
                assert await read(fill.take(number)) == bytes_of(number)
            fill.advance(number)
    await bench.ended(FillStatus.DONE)


async def test_a_fill_waits_for_its_first_reader_behind_its_first_slice(bench: Bench) -> None:
    """An answer with several slices came: its reader is on its way, a turn of the loop late."""
    body = Body(piece=LENGTH)
    fill = bench.start(body, range(10))
    await idle()
    assert (len(bench.table), sorted(bench.stored)) == (1, [0])
    with fill.reader(10):
        fill.take(9)
        await bench.ended(FillStatus.DONE)


async def test_a_fill_does_not_wait_long_for_its_first_reader(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "FIRST_READER_LIMIT", 0)
    body = Body()
    bench.start(body, range(10))
    await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0]
    assert body.closed


async def test_a_reader_that_is_too_slow_loses_the_connection_but_no_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill_module, "PAUSE_LIMIT", 0)
    body = Body()
    fill = bench.start(body, range(10))
    with fill.reader(10):
        buffer = fill.take(0)
        await bench.ended(FillStatus.ABANDONED)
        assert fill.outwaited
        assert await read(buffer) == bytes_of(0)
    assert sorted(bench.stored) == [0]
    assert body.closed


@pytest.mark.parametrize("turns", range(30))
async def test_a_reader_that_comes_as_the_pause_ends_is_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """Also in the turn of the loop in which the timer fires: covered is promised."""
    monkeypatch.setattr(fill_module, "PAUSE_LIMIT", 0)
    fill = bench.start(Body(piece=SIZE), range(10))
    with fill.reader(10):
        fill.take(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        if fill.covers(1):
            assert await read(fill.take(1)) == bytes_of(1)
    await bench.ended(FillStatus.ABANDONED)


# The table


async def test_the_table_finds_a_slice_until_it_is_stored(bench: Bench) -> None:
    body = Body(given=0)
    fill = bench.start(body, range(2, 4))
    find = bench.table.find
    assert [find(META.version, number) for number in (1, 2, 3, 4)] == [None, fill, fill, None]
    assert find("another version", 2) is None
    assert repr(fill) == "<Fill outputs/clip.mp4 2-3 filling readers=0>"
    with fill.reader(4):
        fill.take(2)
        body.give(2 * SIZE)
        await until(lambda: 2 in bench.stored)
        await until(lambda: find(META.version, 2) is None)
        fill.take(3)
        await bench.ended(FillStatus.DONE)
    assert bench.stored[3] == bytes_of(1)  # the body has the slices from 2 on


# A fill ahead of its readers


def start_ahead(bench: Bench, body: Body, numbers: range, sent: range | None = None) -> Fill:
    async def ask() -> tuple[Source, range]:
        return body, sent or numbers

    return bench.table.start(Fill(META, numbers, SIZE, ahead=True), ask, bench.sink)


async def test_a_fill_ahead_does_not_wait_for_its_reader(bench: Bench) -> None:
    fill = start_ahead(bench, Body(), range(2, 7))
    with fill.awaited():
        await bench.ended(FillStatus.DONE)
    assert sorted(bench.stored) == [2, 3, 4, 5, 6]
    assert not any(fill.covers(number) for number in range(10))


async def test_a_fill_ahead_that_nobody_awaits_any_more_ends_with_the_slice_in_flight(
    bench: Bench,
) -> None:
    body = Body(given=SIZE + 10)
    fill = start_ahead(bench, body, range(10))
    with fill.awaited(), fill.awaited():
        await idle()
    body.give(LENGTH)
    await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [0, 1]


async def test_a_fill_ahead_that_nobody_awaits_when_it_is_answered_brings_nothing(
    bench: Bench,
) -> None:
    body = Body()
    fill = start_ahead(bench, body, range(10))
    with fill.awaited():
        pass
    await bench.ended(FillStatus.ABANDONED)
    assert (body.position, body.closed) == (0, True)


async def test_who_comes_to_a_fill_ahead_makes_it_one_of_its_own(bench: Bench) -> None:
    """It goes on when the others have left, slice by slice."""
    body = Body(given=10, piece=SIZE)
    fill = start_ahead(bench, body, range(10))
    with fill.reader(10):
        with fill.awaited():
            await idle()
            buffer = fill.take(0)
        body.give(LENGTH - 10)
        assert await read(buffer) == bytes_of(0)
        await idle()
        assert sorted(bench.stored) == [0]
        fill.take(1)
        await idle()
        assert sorted(bench.stored) == [0, 1]
    await bench.ended(FillStatus.ABANDONED)


async def test_a_fill_ahead_keeps_nothing_that_the_store_refuses_and_goes_no_further(
    bench: Bench,
) -> None:
    bench.takes = False
    body = Body(piece=SIZE)
    fill = start_ahead(bench, body, range(10))
    with fill.awaited():
        await idle()
        assert not any(fill.covers(number) for number in range(body.position // SIZE))
        assert body.position <= 3 * SIZE
        assert fill.refused
    await bench.ended(FillStatus.ABANDONED)


async def test_a_fill_ahead_is_not_near_before_the_origin_has_answered(bench: Bench) -> None:
    answer = asyncio.Event()

    async def ask() -> tuple[Source, range]:
        await answer.wait()
        return Body(), range(2, 4)

    fill = bench.table.start(Fill(META, range(2, 4), SIZE, ahead=True), ask, bench.sink)
    with fill.awaited():
        await idle()
        assert not fill.is_near(2)
        fill.leave(3)  # to one of its reader's own
        assert [fill.covers(number) for number in (2, 3)] == [True, False]
        answer.set()
        await bench.ended(FillStatus.ABANDONED)
    assert sorted(bench.stored) == [2]


async def test_a_fill_ahead_that_was_left_before_it_asked_does_not_ask(bench: Bench) -> None:
    body = Body()
    fill = start_ahead(bench, body, range(2, 4))
    with fill.awaited():
        fill.leave(2)
        await bench.ended(FillStatus.ABANDONED)
    assert (body.position, body.closed) == (0, False)


async def test_a_fill_ahead_takes_nothing_that_was_not_asked_for(bench: Bench) -> None:
    body = Body()
    fill = start_ahead(bench, body, range(2, 4), sent=range(10))
    with fill.awaited():
        await bench.ended(FillStatus.FAILED)
    assert (body.position, body.closed) == (0, True)
