"""The numbers of a family are those of all its processes, added up."""

import mmap
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from edgecache.board import Board
from edgecache.families import SECONDS, Count, Families, Labelled, Times
from tests.pages import page_of, samples


class Process:
    """The same three families everywhere."""

    def __init__(self, board: Board, others: Callable[[], list[Board]] = list) -> None:
        self.families = Families(board, others)
        self.ends: Labelled[Count] = self.families.counters("ends", "Ends", ("end", "why"))
        self.busy = self.families.gauge("busy", "Busy")
        self.times: Labelled[Times] = self.families.histograms("times", "Times", ("op",))


def test_the_page_is_the_same_as_from_the_library() -> None:
    """Of three processes' events the same as of one's."""
    boards = [Board.private(), Board.private()]
    first = Process(Board.private(), lambda: boards)
    processes = [first, *map(Process, boards)]
    theirs = CollectorRegistry()
    ends = Counter("edgecache_ends", "Ends", ("end", "why"), registry=theirs)
    busy = Gauge("edgecache_busy", "Busy", registry=theirs)
    times = Histogram("edgecache_times", "Times", ("op",), registry=theirs, buckets=SECONDS)
    for n in range(60):
        process = processes[n % 3]
        labels = ("done" if n % 2 else "failed", 'a "quoted" reason\n' if n % 5 else "")
        for counter in (process.ends, ends):
            counter.labels(*labels).inc(n)
        for gauge in (process.busy, busy):
            gauge.inc(3)
            gauge.dec()
        for histogram in (process.times, times):
            histogram.labels(f"op {n % 4}").observe(2.0 ** (n % 20 - 12))
    assert page_of(first.families) == samples(theirs)
    assert page_of(first.families) == page_of(first.families)


def test_a_series_is_on_the_page_from_its_first_mention() -> None:
    process = Process(Board.private())
    assert page_of(process.families) == ["edgecache_busy 0.0"]
    process.ends.labels("done", "")
    assert 'edgecache_ends_total{end="done",why=""} 0.0' in page_of(process.families)


def test_a_successor_counts_on_but_has_not_begun_anything() -> None:
    memory = mmap.mmap(-1, Board.SIZE)
    for total in (1, 2, 3):
        process = Process(Board(memory))
        assert process.busy.value == 0
        process.busy.inc()
        process.ends.labels("done", "").inc()
        process.times.labels("get").observe(0.25)
        assert page_of(process.families)[:2] == [
            "edgecache_busy 1.0",
            f'edgecache_ends_total{{end="done",why=""}} {total}.0',
        ]
        assert f'edgecache_times_sum{{op="get"}} {total / 4}' in page_of(process.families)


@pytest.mark.parametrize("kind", [list, lambda boards: lambda: iter(boards)])
def test_other_boards_are_given_once_or_asked_for(kind: Callable[[list[Board]], object]) -> None:
    board = Board.private()
    Process(board).busy.inc(2)
    families = Families(Board.private(), kind([board]))  # type: ignore[arg-type]
    families.gauge("busy", "Busy").inc()
    assert page_of(families) == ["edgecache_busy 3.0"]


def test_what_only_others_have_counted_is_on_the_page() -> None:
    board = Board.private()
    Process(board).ends.labels("done", "").inc()
    assert 'edgecache_ends_total{end="done",why=""} 1.0' in page_of(
        Process(Board.private(), lambda: [board]).families
    )


def test_a_full_board_keeps_what_it_has_and_counts_the_rest() -> None:
    first = Process(Board(mmap.mmap(-1, 256)))
    first.ends.labels("done", "")
    for n in range(10):
        first.ends.labels("done", "").inc()
        first.ends.labels("failed", f"a very long reason to fail, the {n}th").inc()
        first.times.labels("get").observe(1.0)  # a bucket and the sum
    lines = page_of(first.families)
    assert 'edgecache_ends_total{end="done",why=""} 10.0' in lines
    fitted = sum(float(line.split()[-1]) for line in lines if "failed" in line)
    assert first.families.dropped == 30 - fitted
    assert not [line for line in lines if "times" in line]
