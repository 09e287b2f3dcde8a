"""Read-ahead of one reader, by the clock, and the books of what is read of it."""

import pytest

from edgecache import readahead
from edgecache.core.model import FillStatus, SliceKey
from edgecache.core.readahead import ROW, AheadLimits
from edgecache.fill import Fill
from edgecache.readahead import Ahead, Readahead, Slices
from tests.conftest import FakeClock
from tests.filling import META, SIZE


class Books:
    """Read-ahead over a version with nothing stored, whose fills a test ends."""

    def __init__(self, **limits: int) -> None:
        self.clock = FakeClock()
        self.lost, self.recovered = 0, 0
        self.readahead = Readahead(self.clock, on_lost=self._lose, on_recovered=self._recover)
        self.readahead.use(AheadLimits(slices=8, connections=2, fills=3, waste=0.5, **limits))
        self.fills: list[Fill] = []
        self.stored: set[int] = set()

    def _lose(self, size: int) -> None:
        self.lost += size

    def _recover(self, size: int) -> None:
        self.recovered += size

    def reader(self, stop: int = 10) -> Ahead:
        slices = Slices(
            META.version, stop, lambda key: key.number in self.stored, self.find, self.fetch
        )
        return Ahead(self.readahead, slices)

    def find(self, _version: str, number: int) -> Fill | None:
        return next((fill for fill in self.fills if fill.covers(number)), None)

    def fetch(self, numbers: range) -> Fill:
        fill = Fill(META, numbers, SIZE, ahead=True, watcher=self.readahead)
        self.fills.append(fill)
        return fill

    def read(self, ahead: Ahead, numbers: range, waited: float = 0.1, taken: float = 0.01) -> None:
        for number in numbers:
            self.clock.advance(waited)
            ahead.come(number)
            ahead.gives()
            self.clock.advance(taken)
            ahead.gave()
            self.stored.add(number)
            ahead.leave(number, bought=True)

    def bring(self, fill: Fill, *numbers: int) -> None:
        for number in numbers:
            self.readahead.received(fill, number)
            self.stored.add(number)

    def end(self, fill: Fill) -> None:
        fill.status = FillStatus.DONE
        self.fills.remove(fill)
        self.readahead.ended(fill)


def books_of_a_reader() -> tuple[Books, Ahead]:
    """It has come to slice 3, and 4 to 7 are being fetched in two fills."""
    books = Books()
    ahead = books.reader()
    books.read(ahead, range(ROW))
    ahead.come(ROW)
    assert [fill.numbers for fill in books.fills] == [range(4, 6), range(6, 8)]
    return books, ahead


def test_a_slow_reader_has_none() -> None:
    books = Books()
    books.read(books.reader(), range(10), waited=0.1, taken=0.2)
    assert not books.fills


def test_one_reader_has_so_many_connections() -> None:
    books, ahead = books_of_a_reader()
    books.stored.update(range(3, 6))
    books.read(ahead, range(3, 5))
    assert len(books.fills) == 2
    books.end(books.fills[0])
    books.read(ahead, range(5, 6))
    assert [fill.numbers for fill in books.fills] == [range(6, 8), range(8, 10)]


def test_others_await_what_is_fetched_already() -> None:
    books, ahead = books_of_a_reader()
    other = books.reader()
    books.read(other, range(ROW))
    other.come(ROW)
    assert len(books.fills) == 2
    books.bring(books.fills[0], 4)
    ahead.close()
    assert books.lost == 0
    other.close()
    assert books.lost == SIZE


def test_what_comes_after_its_readers_have_left_is_lost() -> None:
    books, ahead = books_of_a_reader()
    fill = books.fills[0]
    ahead.close()
    books.bring(fill, 4)
    fill.spilled = 7
    books.end(fill)
    assert books.lost == SIZE + 7
    assert books.readahead.waste.open == 2 * SIZE  # the other fill's
    books.readahead.serve(SliceKey(META.version, 4))
    assert books.recovered == SIZE
    books.end(books.fills[0])
    assert books.readahead.waste.open == 0


def test_what_is_bought_again_was_lost() -> None:
    books, _ = books_of_a_reader()
    books.bring(books.fills[0], 4)
    again = Fill(META, range(4, 6), SIZE, watcher=books.readahead)
    for number in (4, 5):  # the second had not been bought
        books.readahead.received(again, number)
    assert books.lost == SIZE
    assert books.readahead.waste.open == 2 * SIZE
    books.readahead.serve(SliceKey(META.version, 4))
    assert books.recovered == 0


def test_of_so_many_slices_it_is_known_whether_they_were_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readahead, "MOST_KNOWN", 3)
    books, ahead = books_of_a_reader()
    assert books.readahead.waste.open == 3 * SIZE
    books.bring(books.fills[0], 4, 5)
    ahead.close()
    assert books.lost == SIZE
    for fill in tuple(books.fills):
        books.end(fill)
    assert books.readahead.waste.open == 0
