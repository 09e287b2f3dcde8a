"""Fetches from the origin into slices, each with any number of readers.

Rules of this module: a fill owns its task, so no reader's end takes it down; it begins no slice
that its foremost reader has not come to; once nobody wants more, it ends with the slice in flight;
no slice is begun while too many wait for the disk.

A slice ahead would be a second one in memory for each slow client, and gain nothing: what the
origin sends meanwhile waits in the connection, and what the client plays in its socket. Only a fill
ahead, for a reader who is faster than the origin, brings all of it as fast as the store takes it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from edgecache.core.errors import EdgecacheError, Unwanted, UpstreamError, VersionChanged
from edgecache.core.model import FillStatus, ObjectMeta, SliceKey
from edgecache.core.ranges import slice_span
from edgecache.slice_buffer import SliceBuffer
from edgecache.tasks import Tasks

# A reader slower than a slice in this time gives the origin's connection back, and asks anew later.
# Short, because connections are few and each holds a quarter megabyte that waits for the reader.
PAUSE_LIMIT = 2.0
# How long a fill that came with an answer waits for its first reader, who may have left already.
FIRST_READER_LIMIT = 1.0
# Slices on their way to the disk, of all fills. Where the disk is slower than the origin, the
# origin waits, in its connections: their slices would fill the memory.
MOST_STORING = 32
# A disk that takes none of them for so long is not waited for.
DISK_PATIENCE = 1.0


class Source(Protocol):
    """The body of one origin answer."""

    async def read(self) -> bytes: ...

    def close(self) -> None: ...


# Gives the body and the whole slices in it, which may be more than were asked for.
Ask = Callable[[], Awaitable[tuple[Source, range]]]
Sink = Callable[[SliceKey, ObjectMeta, bytearray], Awaitable[bool]]


class Watcher(Protocol):
    """Keeps account of what fills bring."""

    def received(self, fill: "Fill", number: int) -> None: ...

    def ended(self, fill: "Fill") -> None: ...


class Fill:
    """One origin answer on its way into a run of slices of one version."""

    def __init__(
        self,
        meta: ObjectMeta,
        numbers: range,
        slice_size: int,
        on_replaced: Callable[[], None] = lambda: None,
        *,
        ahead: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        """`on_replaced`: the origin no longer has this version. Readers hear of it after that.
        `ahead`: of readers that it is `awaited` by."""
        self.meta = meta
        self._on_replaced = on_replaced
        self.on_waste: Callable[[int], None] = no_count
        self.version = meta.version
        self.numbers = numbers
        self.ahead = ahead
        self.spilled = 0  # bytes of slices that did not come to their end
        self.status = FillStatus.FILLING
        self.outwaited = False  # its readers were too slow for it
        self.keeps = True  # what it brings is stored
        self.refused = False  # the store did not take a slice
        self._slice_size = slice_size
        self._watcher = watcher
        self._at = numbers.start  # the slice that is coming in
        # The foremost one that a reader has come to.
        self._front = numbers.start - 1 if ahead else numbers.start
        self._awaited = 0  # by readers that have not come yet
        self._answered = False  # the origin has begun to send
        self._everything = False  # the origin sends the whole object
        self._demands: dict[object, int] = {}
        self._was_read = False
        self._changed = asyncio.Event()
        self._buffers: dict[int, SliceBuffer] = {}
        self._unsaved: set[int] = set()
        self._broken: SliceBuffer | None = None  # the slice that did not become whole
        self._wasted = 0  # bytes that came, that no reader had and that were not stored
        self._over = False
        self._widen(numbers)

    def __repr__(self) -> str:
        run = f"{self.numbers.start}-{self.numbers.stop - 1}"
        return f"<Fill {self.meta.key.key} {run} {self.status} readers={len(self._demands)}>"

    @property
    def readers(self) -> int:
        return len(self._demands)

    def is_wanted(self) -> bool:
        """Whether there are readers, or the first has not come yet."""
        return bool(self._demands) or not self._was_read

    def covers(self, number: int) -> bool:
        return number in self._buffers

    def filled(self, number: int) -> int:
        buffer = self._buffers.get(number)
        return buffer.filled if buffer is not None else 0

    def is_near(self, number: int) -> bool:
        """Whether the slice comes next, or no other fill could have it sooner."""
        if self.ahead and not self._answered:  # it may wait for its turn behind everybody else
            return False
        return number <= self._at + 1 or self._everything

    def size_of(self, number: int) -> int:
        return len(slice_span(number, self._slice_size, self.meta.length))

    @contextmanager
    def reader(self, stop: int) -> Iterator[None]:
        """Counts a reader in, who wants slices below `stop`."""
        token = object()
        self._demands[token] = stop
        self._was_read = True
        self._changed.set()
        try:
            yield
        finally:
            del self._demands[token]
            self._changed.set()
            self._settle()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Counts a reader in, who will come: a fill ahead goes on for it."""
        self._awaited += 1
        try:
            with self.reader(self.numbers.stop):
                yield
        finally:
            self._awaited -= 1

    def advance(self, number: int) -> None:
        """A reader has come to slice `number`, wherever it has its bytes from."""
        if number <= self._front:
            return
        self._front = number
        self._changed.set()
        for passed in [one for one in self._unsaved if one < number]:
            self._unsaved.discard(passed)
            self._let_go(passed)

    def take(self, number: int) -> SliceBuffer:
        """The buffer of a slice that the fill covers. Moves the front."""
        self.advance(number)
        return self._buffers[number]

    def leave(self, number: int) -> None:
        """Leaves the slices from `number` on to another fill, unless this one is there by now."""
        if self.is_near(number):
            return
        self.numbers = range(self.numbers.start, min(number, self.numbers.stop))
        for left in [one for one in self._buffers if one >= number]:
            del self._buffers[left]
        self._changed.set()

    async def run(self, ask: Ask, sink: Sink, tasks: Tasks, disk: asyncio.Semaphore) -> None:
        source: Source | None = None
        storing: asyncio.Task[None] | None = None
        try:
            if not (asked := self.numbers):
                self._give_up()
                return
            source, numbers = await ask()
            self._answered = True
            if numbers != asked:
                if self.ahead:
                    raise UpstreamError("the origin sends what was not asked for")
                self._everything = True
                self._widen(numbers)
            rest = memoryview(b"")
            for number in numbers:
                is_sure = number == numbers.start and not self.ahead
                if not is_sure and not await self._wanted(number):
                    self._give_up()
                    break
                self._at = number
                await self._wait_for(disk)
                buffer = self._buffers[number]
                rest = await _receive(source, buffer, rest)
                if self._watcher is not None:
                    self._watcher.received(self, number)
                if storing is not None and self.keeps:  # at most one is on its way to the disk
                    stored, _ = await asyncio.wait([storing], timeout=DISK_PATIENCE)
                    self.keeps = bool(stored)
                storing = tasks.spawn(self._store(number, buffer, sink, disk), name="store-slice")
            else:
                self.status = FillStatus.DONE
            self._wasted += len(rest)
        except VersionChanged as error:
            self._on_replaced()
            self._end(FillStatus.VERSION_CHANGED, error)
        except Unwanted:
            self._give_up()
        except EdgecacheError as error:
            self._end(FillStatus.FAILED, error)
        finally:
            if source is not None:
                source.close()
            if storing is not None:
                with suppress(asyncio.CancelledError):
                    await storing

    async def _wait_for(self, disk: asyncio.Semaphore) -> None:
        """Until the disk has room for more; one that hangs is done without."""
        if not self.keeps:
            return
        try:
            async with asyncio.timeout(DISK_PATIENCE), disk:
                pass  # only a look: the turn is taken to store
        except TimeoutError:
            self.keeps = False

    async def _wanted(self, number: int) -> bool:
        """Whether to go on with slice `number`; waits while it is too far ahead of the readers."""
        while number in self._buffers and self.is_wanted():
            if self._awaited and self.keeps and not self.refused:
                return True
            if self._demands and number >= max(self._demands.values()):
                return False
            if self._demands and number <= self._front:
                return True
            self._changed.clear()
            try:
                async with asyncio.timeout(PAUSE_LIMIT if self._was_read else FIRST_READER_LIMIT):
                    await self._changed.wait()
            except TimeoutError:
                if not self._changed.is_set():  # a reader may have come in the same moment
                    self.outwaited = True
                    return False
        return False

    async def _store(
        self, number: int, buffer: SliceBuffer, sink: Sink, disk: asyncio.Semaphore
    ) -> None:
        """What the store did not take is kept until the foremost reader has passed it, if there is
        one: what nobody has come to yet would fill the memory."""
        stored = False
        try:
            async with disk:
                if self.keeps:  # it may have been disowned while it waited
                    stored = await sink(SliceKey(self.version, number), self.meta, buffer.data)
        finally:
            buffer.settle(stored=stored)
        self.refused = self.refused or not stored
        if stored:
            self._buffers.pop(number, None)
        elif number < self._front or (self.ahead and number > self._front):
            self._let_go(number)
        else:
            self._unsaved.add(number)

    def _let_go(self, number: int) -> None:
        """Of a slice that the store does not have."""
        if (buffer := self._buffers.pop(number, None)) is not None:
            self._wasted += buffer.unused

    def _widen(self, numbers: range) -> None:
        """An origin that ignores Range sends everything: all slices of it are kept."""
        for number in numbers:
            if number not in self._buffers:
                self._buffers[number] = SliceBuffer(self.size_of(number))

    def stopped(self) -> None:
        """Its task has ended. One that was cancelled or hit a bug may still have readers."""
        if self.status is FillStatus.FILLING:
            self._end(FillStatus.FAILED, UpstreamError("the fill was stopped"))
        if self._watcher is not None:
            self._watcher.ended(self)
        self._over = True
        self._settle()

    def _settle(self) -> None:
        """Tells what was bought in vain, once nobody can come for it any more."""
        if not self._over or self._demands:
            return
        for number in tuple(self._buffers):
            self._let_go(number)
        if self._broken is not None:
            self._wasted += self._broken.unused
        self.on_waste(self._wasted)
        self._broken, self._wasted = None, 0

    def _give_up(self) -> None:
        self._end(FillStatus.ABANDONED, UpstreamError("the fill was given up"))

    def _end(self, status: FillStatus, error: EdgecacheError) -> None:
        self.status = status
        for number, buffer in tuple(self._buffers.items()):
            buffer.fail(error)
            if not buffer.complete:  # complete ones are on their way to the store
                self.spilled += buffer.filled
                del self._buffers[number]
                if buffer.filled:
                    self._broken = buffer


def no_count(count: int) -> None:
    """Nobody wants to know."""


async def _receive(source: Source, buffer: SliceBuffer, rest: memoryview) -> memoryview:
    """Fills `buffer` from `rest` and the source; returns what came beyond it."""
    if rest:
        rest = buffer.feed(rest)
    while not buffer.complete:
        data = await source.read()
        if not data:
            raise UpstreamError("the origin's body ended early")
        rest = buffer.feed(memoryview(data))
    return rest


class FillTable:
    """The running fills, by version. One origin read of a slice at a time."""

    def __init__(
        self,
        tasks: Tasks,
        *,
        on_end: Callable[[FillStatus], None],
        on_waste: Callable[[int], None] = no_count,
    ) -> None:
        """`on_waste`: of bytes that no reader had and that were not stored."""
        self._tasks = tasks
        self._on_end = on_end
        self._on_waste = on_waste
        self._fills: dict[str, list[Fill]] = {}
        self._disk = asyncio.Semaphore(MOST_STORING)

    def __len__(self) -> int:
        return sum(len(fills) for fills in self._fills.values())

    def find(self, version: str, number: int) -> Fill | None:
        for fill in self._fills.get(version, ()):
            if fill.covers(number):
                return fill
        return None

    def filled(self, version: str, number: int) -> int:
        """How many bytes of a slice have come in, of the fill that is furthest with it."""
        return max((fill.filled(number) for fill in self._fills.get(version, ())), default=0)

    def of(self, version: str) -> list[Fill]:
        """Those of a version."""
        return list(self._fills.get(version, ()))

    def disown(self, version: str) -> None:
        """The fills of a version: what they bring is their readers', and nobody else's."""
        for fill in self._fills.pop(version, ()):
            fill.keeps = False

    def disown_if(self, is_meant: Callable[[ObjectMeta], bool]) -> None:
        for version in [one for one, (fill, *_) in self._fills.items() if is_meant(fill.meta)]:
            self.disown(version)

    def start(self, fill: Fill, ask: Ask, sink: Sink) -> Fill:
        fill.on_waste = self._on_waste
        self._fills.setdefault(fill.version, []).append(fill)
        name = f"fill {fill.meta.key.key[:80]}"
        task = self._tasks.spawn(fill.run(ask, sink, self._tasks, self._disk), name=name)
        # A callback: a task that is cancelled before its first step runs nothing of its own.
        task.add_done_callback(lambda _: self._ended(fill))
        return fill

    def _ended(self, fill: Fill) -> None:
        fills = self._fills.get(fill.version, [])
        if fill in fills:  # else it was disowned
            fills.remove(fill)
            if not fills:
                del self._fills[fill.version]
        fill.stopped()
        self._on_end(fill.status)
