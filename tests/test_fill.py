"""A fill and its readers: they are served as the bytes come, and it keeps in step with them."""

import asyncio

import pytest

from edgecache import fill as fill_module
from edgecache.core.model import FillStatus
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
