"""Fills of what readers will come to: who waits for them, and what becomes of their bytes.

Rule of this module: read-ahead is a favour. It fetches what the client has asked for and has not
come to yet, holds nothing in memory that the store has, and fails nobody: whoever comes to a slice
that it did not bring asks for it as if there were no read-ahead.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from edgecache.core.model import FillStatus, SliceKey
from edgecache.core.readahead import AheadLimits, Pace, Waste
from edgecache.fill import Fill

# Slices bought ahead that nobody has read, of which it is known; older ones stay wasted.
MOST_KNOWN = 2**14
# So many slices behind its reader, the store has what it takes.
BEHIND = 2


@dataclass(slots=True, eq=False)
class Run:
    """One fill ahead, that so many readers will come to."""

    fill: Fill
    keys: tuple[SliceKey, ...]
    awaited: int = 0


@dataclass(slots=True, eq=False)
class Unread:
    """A slice of a run that no reader has come to."""

    run: Run
    size: int
    bought: bool = False
    lost: bool = False  # its readers have gone


class Readahead:
    """What is fetched ahead, of all readers: at most `limits.fills` at a time."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        on_lost: Callable[[int], None] = lambda _: None,
        on_recovered: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_lost`: so many bytes were bought in vain; `on_recovered`: not so, after all."""
        self.clock = clock
        self.limits = AheadLimits()
        self.waste = Waste()
        self._on_lost = on_lost
        self._on_recovered = on_recovered
        self._runs: dict[Fill, Run] = {}  # those that run
        self._unread: OrderedDict[SliceKey, Unread] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def use(self, limits: AheadLimits) -> None:
        self.limits = limits
        self.waste.share = limits.waste

    def allows(self, size: int) -> bool:
        """Whether one more fill may begin."""
        return len(self._runs) < self.limits.fills and self.waste.allows(size)

    def add(self, fill: Fill) -> Run:
        """A fill that has just begun."""
        keys = tuple(SliceKey(fill.version, number) for number in fill.numbers)
        run = self._runs[fill] = Run(fill, keys)
        for key in keys:
            size = fill.size_of(key.number)
            self.waste.buy(size)
            self._drop(key)
            self._unread[key] = Unread(run, size)
        while len(self._unread) > MOST_KNOWN:
            self._drop(next(iter(self._unread)))
        return run

    def run_of(self, fill: Fill) -> Run | None:
        """None: it is none ahead, or has ended."""
        return self._runs.get(fill)

    def awaits(self, run: Run) -> ExitStack:
        """A reader will come to it, until what is returned is closed."""
        waiting = ExitStack()
        run.awaited += 1
        waiting.callback(self._leave, run)
        waiting.enter_context(run.fill.awaited())
        return waiting

    def _leave(self, run: Run) -> None:
        run.awaited -= 1
        if not run.awaited:
            for key in run.keys:
                if (one := self._unread.get(key)) is not None and one.run is run:
                    self._lose(one)

    def serve(self, key: SliceKey) -> None:
        """A reader came to a slice, and it is here."""
        if (one := self._unread.pop(key, None)) is None:
            return
        if one.lost:
            self.waste.recover(one.size)
            self._on_recovered(one.size)
        else:
            self.waste.serve(one.size)

    def received(self, fill: Fill, number: int) -> None:
        """A fill has all of a slice: one ahead, or one that its reader has come to."""
        key = SliceKey(fill.version, number)
        if not fill.ahead:
            self.waste.ask(fill.size_of(number))
            self._drop(key)  # bought again
        elif (one := self._unread.get(key)) is not None and one.run.fill is fill:
            one.bought = True
            if not one.run.awaited:
                self._lose(one)

    def ended(self, fill: Fill) -> None:
        """`fill.spilled`: what it brought of a slice that it did not bring to its end."""
        if (run := self._runs.pop(fill, None)) is None:
            return
        for key in run.keys:
            one = self._unread.get(key)
            if one is not None and one.run is run and not one.bought:
                self._drop(key)
        if fill.spilled:
            self.waste.buy(fill.spilled)
            self.waste.lose(fill.spilled)
            self._on_lost(fill.spilled)

    def _drop(self, key: SliceKey) -> None:
        """Whoever comes to it now does not have it from there."""
        if (one := self._unread.pop(key, None)) is None:
            return
        self._lose(one)
        if not one.bought:
            self.waste.give_back(one.size)

    def _lose(self, one: Unread) -> None:
        """Its bytes are wasted, if there are any and they are not yet."""
        if one.bought and not one.lost:
            one.lost = True
            self.waste.lose(one.size)
            self._on_lost(one.size)


class Slices(NamedTuple):
    """What a reader's version has, and how to have more of it fetched."""

    version: str
    stop: int  # what the client asked for ends before this slice
    is_stored: Callable[[SliceKey], bool]
    find: Callable[[str, int], Fill | None]
    fetch: Callable[[range], Fill]


class Ahead:
    """What is fetched ahead of one reader."""

    def __init__(self, readahead: Readahead, slices: Slices) -> None:
        self._readahead = readahead
        self._slices = slices
        self._pace = Pace(readahead.limits)
        self._first: int | None = None  # that it read
        self._next = 0  # the slice up to which all is there, or on its way, or was
        self._waited = self._taken = 0.0  # of the slice it is at
        self._at = readahead.clock()
        self._awaiting: dict[Run, ExitStack] = {}
        self._failed: set[Run] = set()

    def close(self) -> None:
        """The reader has left."""
        for run in tuple(self._awaiting):
            self._awaiting.pop(run).close()

    def failed(self) -> None:
        self._pace.failed(self._readahead.clock())

    def gives(self) -> None:
        """The reader has waited, and takes some bytes."""
        self._waited += self._lap()

    def gave(self) -> None:
        """It has taken them."""
        self._taken += self._lap()

    def _lap(self) -> float:
        began, self._at = self._at, self._readahead.clock()
        return self._at - began

    def leave(self, number: int, *, bought: bool) -> None:
        """The reader has a slice behind it, which was `bought` when it or another came to it."""
        if not bought:
            self._readahead.serve(SliceKey(self._slices.version, number))
        if self._first is None:
            self._first = number
        behind = number - BEHIND
        stored = behind < self._first or self._is_stored(behind)
        self._pace.read(self._waited, self._taken, self._at, stored=stored)
        self._waited = self._taken = 0.0

    def come(self, number: int) -> None:
        """The reader has come to slice `number`: what follows is to be on its way."""
        self._pass(number)
        window = self._pace.window
        if not window:
            self._next = 0
            return
        self._next = max(self._next, number + 1)
        stop = min(number + 1 + window, self._slices.stop)
        while self._next < stop and self._extend(stop):
            pass

    def _pass(self, number: int) -> None:
        for run in tuple(self._awaiting):
            if run not in self._failed and has_failed(run.fill):
                self._failed.add(run)
                self.failed()
            if number > run.keys[-1].number:
                self._failed.discard(run)
                self._awaiting.pop(run).close()

    def _extend(self, stop: int) -> bool:
        """One step towards `stop`; False: not now."""
        fill = self._slices.find(self._slices.version, self._next)
        if fill is not None:
            if (run := self._readahead.run_of(fill)) is not None and run not in self._awaiting:
                self._awaiting[run] = self._readahead.awaits(run)
            self._next += 1
            return True
        if self._is_stored(self._next):
            self._next += 1
            return True
        return self._begin(stop)

    def _begin(self, stop: int) -> bool:
        """A fill of the slices from the next one; a short one only where there is no more."""
        most = self._next + self._pace.run
        last = next((n for n in range(self._next + 1, most) if not self._is_absent(n)), most)
        last = min(last, self._slices.stop)
        running = sum(run.fill.status is FillStatus.FILLING for run in self._awaiting)
        if last > stop or running >= self._readahead.limits.connections:
            return False
        numbers = range(self._next, last)
        if not self._readahead.allows(len(numbers) * self._readahead.limits.slice_size):
            return False
        run = self._readahead.add(self._slices.fetch(numbers))
        self._awaiting[run] = self._readahead.awaits(run)
        self._next = last
        return True

    def _is_stored(self, number: int) -> bool:
        return self._slices.is_stored(SliceKey(self._slices.version, number))

    def _is_absent(self, number: int) -> bool:
        find = self._slices.find
        return not self._is_stored(number) and find(self._slices.version, number) is None


def has_failed(fill: Fill) -> bool:
    """Whether its readers may find nothing where they come to."""
    is_bad = fill.status in (FillStatus.FAILED, FillStatus.VERSION_CHANGED)
    return is_bad or fill.refused or not fill.keeps
