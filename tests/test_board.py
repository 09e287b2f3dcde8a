"""A series is seen whole or not at all, by whoever reads and whenever its writer dies."""

import mmap
import sys
import threading
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache import board as module
from edgecache.board import HEADER, RECORD, Board, Name, decode, encode
from tests.forked import forked

# Any code point at all, lone surrogates and NUL too.
NAMES = st.lists(st.text(st.characters()), min_size=1, max_size=4).map(tuple)
A, B, C = ("a", "x"), ("b", "y"), ("c",)


def seen(memory: bytearray | mmap.mmap) -> dict[Name, list[float]]:
    """What another process reads that comes now."""
    return dict(Board(memory).series())


# Names


@given(NAMES)
def test_a_name_is_read_as_it_was_written(name: Name) -> None:
    assert decode(encode(name)) == name


@given(NAMES, NAMES)
def test_two_names_are_never_one(one: Name, other: Name) -> None:
    assert (encode(one) == encode(other)) == (one == other)


# Series


@given(st.dictionaries(NAMES, st.integers(1, 20), max_size=8))
def test_every_series_is_there_with_its_cells(sizes: dict[Name, int]) -> None:
    memory = bytearray(4096)
    written, reader, expected = Board(memory), Board(memory), {}
    for n, (name, size) in enumerate(sizes.items()):
        cells = written.cells(name, size)
        for i in range(size):
            cells[i] += n + i / 4
        expected[name] = [n + i / 4 for i in range(size)]
        assert dict(reader.series()) == expected
    assert dict(written.series()) == seen(memory) == expected


def test_a_series_is_the_same_however_often_it_is_asked_for() -> None:
    board = Board.private()
    for n in range(3):
        board.cells(A, 2)[1] += n
    assert list(board.series()) == [(A, [0, 3])]


def test_a_successor_counts_on() -> None:
    memory = bytearray(1024)
    Board(memory).cells(A, 1)[0] += 5
    successor = Board(memory)
    successor.cells(B, 2)[1] += 1
    successor.cells(A, 1)[0] += 2
    assert seen(memory) == {A: [7], B: [0, 1]}


def test_reading_writes_nothing() -> None:
    memory = bytearray(1024)
    Board(memory).cells(A, 1)[0] += 1
    before = bytes(memory)
    assert seen(memory)
    assert memory == before


def test_counts_of_many_threads_add_up() -> None:
    """The access log counts what it drops in a thread."""
    cells, switch = Board.private().cells(A, 1), sys.getswitchinterval()

    def count() -> None:
        for _ in range(20_000):
            cells[0] += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert cells[0] == 80_000


# Full


def test_what_finds_no_room_is_counted_and_breaks_nothing() -> None:
    memory = bytearray(HEADER + RECORD.size + 8 + 8)  # room for one
    board = Board(memory)
    kept, lost = board.cells(A, 1), board.cells(B, 1)
    kept[0] += 3
    lost[0] += 4
    lost[0] += 1
    assert (lost[0], board.dropped) == (0, 2)
    assert board.cells(A, 1)[0] == 3
    assert seen(memory) == {A: [3]}
    assert Board(memory).dropped == 2


def test_a_short_name_may_fit_where_a_long_one_did_not() -> None:
    memory = bytearray(HEADER + RECORD.size + 8 + 8)
    Board(memory).cells(("long", "x" * 70_000), 1)[0] += 1
    Board(memory).cells(C, 1)[0] += 1
    assert seen(memory) == {C: [1]}


@pytest.mark.parametrize("size", [HEADER, 17, 100, 1001])
def test_no_size_of_memory_is_written_beyond(size: int) -> None:
    memory = bytearray(size)
    board = Board(memory)
    for n in range(100):
        board.cells((str(n),), 1)[0] += 1
    counted = sum(count for (count,) in seen(memory).values())
    assert counted + board.dropped == 100


# A writer that is killed


class Killed(BaseException):
    pass


def append_and_die(memory: bytearray, step: int) -> bool:
    """Appends B in `memory`, and dies before so many steps of the interpreter, if there are."""
    board, left = Board(memory), step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if left == 0:
                raise Killed
            left -= 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        board.cells(B, 3)
    except Killed:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_append_that_is_cut_anywhere_is_seen_whole_or_not_at_all() -> None:
    step, views = 0, []
    while True:
        memory = bytearray(256)
        reader = Board(memory)
        Board(memory).cells(A, 1)[0] = 5
        died = append_and_die(memory, step)
        view = seen(memory)
        assert dict(reader.series()) == view
        views.append(len(view))
        assert view in ({A: [5]}, {A: [5], B: [0, 0, 0]})
        successor = Board(memory)
        for name in (C, B, A):
            successor.cells(name, 3 if name == B else 1)[0] += 1
        assert seen(memory) == dict(reader.series()) == {A: [6], B: [1, 0, 0], C: [1]}
        if not died:
            break
        step += 1
    assert step > 100  # it was cut at many places
    assert views == sorted(views)  # first without, then with it
    assert set(views) == {1, 2}


def test_what_a_dead_writer_left_is_not_counted() -> None:
    memory = bytearray(256)
    Board(memory).cells(A, 1)[0] = 5
    end = HEADER + int.from_bytes(memory[:8], sys.byteorder)
    memory[end:] = b"\xab" * (len(memory) - end)
    assert seen(memory) == {A: [5]}
    Board(memory).cells(B, 3)
    assert seen(memory) == {A: [5], B: [0, 0, 0]}


@pytest.mark.parametrize("hidden", range(RECORD.size // 8 + 1))
def test_a_header_that_arrives_before_its_record_waits_for_it(hidden: int) -> None:
    """Processors with a weak order of stores may show another one the header first."""
    memory = bytearray(256)
    Board(memory).cells(A, 1)[0] = 5
    place = slice(HEADER + 8 * hidden, HEADER + 8 * hidden + 8)
    late, memory[place] = memory[place], bytes(8)
    reader = Board(memory)
    assert dict(reader.series()) == {}
    memory[place] = late
    assert dict(reader.series()) == {A: [5]}


# A reader at the same time


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_reader_during_appends_sees_a_beginning_of_them() -> None:
    memory, total = mmap.mmap(-1, Board.SIZE), 3000

    def write() -> None:
        board = Board(memory)
        for n in range(total):
            board.cells((f"series {n}", "x" * (n % 50)), n % 7 + 1)[n % 7] = n

    reader = Board(memory)
    with forked(write) as child:
        lengths = [0]
        while lengths[-1] < total:
            series = list(reader.series())
            assert len(series) >= lengths[-1]
            lengths.append(len(series))
            for n, (name, cells) in enumerate(series):
                assert (name, len(cells)) == ((f"series {n}", "x" * (n % 50)), n % 7 + 1)
                assert cells[-1] in (0, n)  # it may not have got to its number yet
        assert child.wait() == 0
    assert list(Board(memory).series()) == list(reader.series())
    assert [cells[-1] for _, cells in reader.series()] == list(range(total))
