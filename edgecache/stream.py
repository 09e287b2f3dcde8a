"""Bytes of one version, from the store where it has them, from fills where it has not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import chain, islice

from edgecache.catalog import Catalog
from edgecache.core.errors import (
    EdgecacheError,
    NotFound,
    RangeNotSatisfiable,
    StoreError,
    UpstreamError,
    VersionChanged,
)
from edgecache.core.index import Route, StoredResponse
from edgecache.core.model import ByteSpan, ObjectMeta, Reason, SliceKey, Source, Waste
from edgecache.core.plan import RunSizes
from edgecache.core.ranges import IntRange, slice_span, slices_of
from edgecache.core.reply import Found, NotModified
from edgecache.fill import Fill, FillTable
from edgecache.origins import Origins
from edgecache.readahead import Ahead, Readahead, Slices
from edgecache.request import Piece, Use
from edgecache.resumed import resume_if
from edgecache.slice_buffer import PIECE, SliceBuffer
from edgecache.store import Bytes, OpenSlice, SliceStore
from edgecache.tasks import Tasks
from edgecache.upstream import Body

# A body this short is read to its end, so that the connection can be used again.
DISCARD_LIMIT = 2**16
# How long a reader that jumps ahead in a running fill waits for it before it asks for itself.
SEEK_PATIENCE = 0.25
# How long one waits for the answer to what was asked for ahead, which may wait for its turn behind
# everybody else. Longer, for where it does not, the same would be asked for twice.
AHEAD_PATIENCE = 1.0
# Of how many slices `missing` speaks: no request is worth a second of the event loop's time.
MOST_LOOKED_AT = 2**16
# How many slices of an answer are opened before its head where the origin may not stand in for one.
MOST_OPENED = 8
PURGED = "it was purged while it was read"


class Reading:
    """One response's way through a version: the fill it is attached to, and how far it asks."""

    def __init__(
        self,
        use: Use,
        numbers: range,
        window: int,
        sizes: RunSizes,
        ahead: Ahead,
        reason: Reason = Reason.DEMAND,
    ) -> None:
        self.ahead = ahead
        self.use = use
        self.stop = numbers.stop
        self.reason = reason
        self.fill: Fill | None = None
        self.buffer: SliceBuffer | None = None  # of the slice it has come to
        self._window = window
        self._most = sizes.max_run
        self._least = sizes.slice_size
        self._attachment = ExitStack()

    def attach(self, fill: Fill) -> Fill:
        if fill is not self.fill:
            self._attachment.close()
            self._attachment.enter_context(fill.reader(self.stop))
            self.fill = fill
        return fill

    def advance(self, number: int) -> None:
        self.buffer = None
        if self.fill is not None:
            self.fill.advance(number)

    def window(self) -> int:
        """How many bytes to ask for now: twice as many each time, if the reader keeps up."""
        if self.fill is not None and self.fill.outwaited:
            self._most = self._least  # what is cut off was bought in vain: slice by slice from here
        window = min(self._window, self._most)
        self._window = 2 * window
        return window

    @property
    def has_bought(self) -> bool:
        """Whether the slice it has come to was bought for a reader who had."""
        return self.buffer is not None and self.fill is not None and not self.fill.ahead

    def close(self) -> None:
        self.ahead.close()
        self._attachment.close()


class Streams:
    def __init__(
        self,
        store: SliceStore,
        fills: FillTable,
        origins: Origins,
        catalog: Catalog,
        sizes: RunSizes,
        tasks: Tasks,
        readahead: Readahead,
    ) -> None:
        self._store = store
        self._fills = fills
        self._origins = origins
        self._catalog = catalog
        self.sizes = sizes
        self._tasks = tasks
        self._readahead = readahead
        origins.here = self._here

    def _here(self, meta: ObjectMeta, span: ByteSpan) -> int:
        """How many bytes of the span the store has, or a fill that runs."""
        count, version = 0, self._catalog.version_of(meta)
        for number in slices_of(span, self.sizes.slice_size) if version else ():
            whole = slice_span(number, self.sizes.slice_size, meta.length)
            start, stop = max(span.start, whole.start), min(span.stop, whole.stop)
            if not self._store.has(SliceKey(version, number)):
                stop = min(stop, whole.start + self._fills.filled(version, number))
            count += max(stop - start, 0)
        return count

    def missing(self, stored: StoredResponse, spans: tuple[ByteSpan, ...]) -> tuple[int, int]:
        """(slices not on disk, slices in all) of what `spans` need."""
        numbers = [slices_of(span, self.sizes.slice_size) for span in spans]
        looked_at = islice(chain(*numbers), MOST_LOOKED_AT)
        absent = sum(not self._store.has(SliceKey(stored.version, n)) for n in looked_at)
        return absent, min(self._count(spans), MOST_LOOKED_AT)

    def covers(self, stored: StoredResponse, spans: tuple[ByteSpan, ...]) -> bool:
        """Whether all that `spans` need is on disk, as far as can be told at once."""
        absent, _ = self.missing(stored, spans)
        return not absent and self._count(spans) <= MOST_LOOKED_AT

    def _count(self, spans: tuple[ByteSpan, ...]) -> int:
        return sum(len(slices_of(span, self.sizes.slice_size)) for span in spans)

    async def assure(self, use: Use, spans: tuple[ByteSpan, ...], *, doubted: bool) -> None:
        """Before a head is sent while the origin fails, or is `doubted`: that what the body begins
        with can be opened, and the first gap in it be filled. What goes wrong later cuts the body.

        :raises VersionChanged, UpstreamError: as `pieces` does.
        """
        stored = use.stored
        if not (doubted or self._origins.is_failing(stored.meta.key.origin)):
            return
        numbers = chain(*(slices_of(span, self.sizes.slice_size) for span in spans))
        for at, number in enumerate(islice(numbers, MOST_LOOKED_AT)):
            if at < MOST_OPENED:
                is_here = await self._opened(stored, number) is not None
            else:
                is_here = self._store.has(SliceKey(stored.version, number))
            if not is_here:
                only = range(number, number + 1)
                ahead = self._ahead(use, only.stop)
                size = self.sizes.slice_size
                with closing(Reading(use, only, size, self.sizes, ahead)) as reading:
                    await self._view(reading, number, 0, 1)
                return

    def admits(self, stored: StoredResponse) -> bool:
        """Whether its slices may be stored at all."""
        return not self._store.admission.is_too_large(stored.meta)

    def first_gap(self, stored: StoredResponse, spans: tuple[ByteSpan, ...]) -> IntRange | None:
        """What to ask the origin for first, None if nothing is missing."""
        for span in spans:
            numbers = slices_of(span, self.sizes.slice_size)
            window = self.sizes.window(stored.meta.key.key, span, stored.meta.length)
            for number in numbers:
                if self._is_absent(stored.version, number):
                    run = self._bytes_of(stored, self._run(stored, number, numbers.stop, window))
                    return IntRange(run.start, run.stop - 1)
        return None

    def adopt(self, stored: StoredResponse, route: Route, found: Found, body: Body) -> None:
        """Makes an answer that is already coming in the fill of its slices, or discards it."""
        use = Use(stored, route, self._catalog.hard_purges.count)
        numbers = self._whole_slices(found)
        gap = next((n for n in numbers if self._is_absent(stored.version, n)), None)
        if gap is None or gap != numbers.start:
            self.discard(found, body)
            return

        async def ask() -> tuple[Body, range]:
            return body, numbers

        fill = self._fill(use, numbers, Reason.DEMAND)
        resume_if(body, lambda: fill.is_wanted() and not self._is_purged(use))
        self._fills.start(fill, ask, self._store.put)

    def _fill(self, use: Use, numbers: range, reason: Reason) -> Fill:
        return Fill(
            use.stored.meta,
            numbers,
            self.sizes.slice_size,
            lambda: self._catalog.replaced(use.stored, use.purges),
            ahead=reason is Reason.READAHEAD,
            watcher=None if reason is Reason.WARM else self._readahead,
        )

    async def pieces(self, use: Use, span: ByteSpan) -> AsyncGenerator[Piece, None]:
        """The bytes of `span`, in order.

        :raises VersionChanged: the origin has another version now, or it was purged, and what is
            left is not here.
        :raises UpstreamError: the origin failed.
        """
        stored = use.stored
        numbers = slices_of(span, self.sizes.slice_size)
        window = self.sizes.window(stored.meta.key.key, span, stored.meta.length)
        ahead = self._ahead(use, numbers.stop)
        with closing(Reading(use, numbers, window, self.sizes, ahead)) as reading:
            for number in numbers:
                whole = slice_span(number, self.sizes.slice_size, stored.meta.length)
                start = max(span.start, whole.start) - whole.start
                stop = min(span.stop, whole.stop) - whole.start
                reading.advance(number)
                opened = await self._opened(stored, number)
                if opened is None:
                    reading.buffer = await self._buffer(reading, number)
                ahead.come(number)  # now: what it waits for is asked for first
                while opened is not None and start < stop:
                    data = await _read(opened, start, min(stop, start + PIECE))
                    if data is None:
                        break  # the disk failed under us: the origin has these bytes too
                    ahead.gives()
                    yield Source.CACHE, data
                    ahead.gave()
                    start += len(data)
                while start < stop:
                    view = await self._view(reading, number, start, stop)
                    ahead.gives()
                    yield Source.FILL, view
                    ahead.gave()
                    start += len(view)
                ahead.leave(number, bought=reading.has_bought)

    async def keep(self, use: Use, numbers: range, reason: Reason) -> bool:
        """Has slices stored that nobody reads now; False: the store does not take them.

        :raises VersionChanged, UpstreamError: as `pieces` does.
        """
        window = len(numbers) * self.sizes.slice_size
        last: SliceBuffer | None = None
        ahead = self._ahead(use, numbers.stop)
        stored = use.stored
        with closing(Reading(use, numbers, window, self.sizes, ahead, reason)) as reading:
            for number in numbers:
                reading.advance(number)
                if self._store.has(SliceKey(stored.version, number)):
                    continue
                size = len(slice_span(number, self.sizes.slice_size, stored.meta.length))
                await self._view(reading, number, size - 1, size)
                if last is not None and not await last.stored():
                    return False
                last = reading.buffer
            return last is None or await last.stored()

    def _ahead(self, use: Use, stop: int) -> Ahead:
        fetch = partial(self._fetch, use, reason=Reason.READAHEAD)
        find, has = self._fills.find, self._store.has
        return Ahead(self._readahead, Slices(use.stored.version, stop, has, find, fetch))

    async def _opened(self, stored: StoredResponse, number: int) -> OpenSlice | None:
        key = SliceKey(stored.version, number)
        opened = self._store.opened(key)
        if opened is None and self._store.has(key):
            return await self._store.open(key, stored.meta)
        return opened

    async def _view(self, reading: Reading, number: int, start: int, stop: int) -> memoryview:
        """Bytes of a slice from `start` on, as soon as there are any; what fails that was asked for
        ahead is asked for again."""
        while True:
            if reading.buffer is None:
                reading.buffer = await self._buffer(reading, number)
            try:
                return await reading.buffer.wait(start, stop)
            except EdgecacheError:
                if reading.has_bought:
                    raise
                reading.buffer = None

    async def _buffer(self, reading: Reading, number: int) -> SliceBuffer:
        """The slice from a fill that has it at hand, or soon, else from one of the reader's own."""
        while (fill := self._fill_with(reading, number)) is not None:
            buffer = reading.attach(fill).take(number)
            patience = AHEAD_PATIENCE if fill.ahead else SEEK_PATIENCE
            if fill.is_near(number) or await _begins(buffer, patience):
                return buffer
            fill.leave(number)
            if fill.ahead:
                reading.ahead.failed()
        numbers = self._run(reading.use.stored, number, reading.stop, reading.window())
        fill = self._fetch(reading.use, numbers, reading.reason)
        return reading.attach(fill).take(number)

    def _fill_with(self, reading: Reading, number: int) -> Fill | None:
        """The reader's own fill first: that has what the store did not take, ended or not."""
        if reading.fill is not None and reading.fill.covers(number):
            return reading.fill
        return self._fills.find(reading.use.stored.version, number)

    def _fetch(self, use: Use, numbers: range, reason: Reason) -> Fill:
        stored = use.stored

        async def ask() -> tuple[Body, range]:
            if self._is_purged(use):
                raise VersionChanged(PURGED)
            span = self._bytes_of(stored, fill.numbers)
            try:
                found, body = await self._origins.get(
                    stored.meta.key,
                    IntRange(span.start, span.stop - 1),
                    route=use.route,
                    reason=reason,
                    if_match=stored.meta.origin_etag,
                    is_wanted=fill.is_wanted,
                )
            except (VersionChanged, NotFound, RangeNotSatisfiable) as error:
                raise VersionChanged("the object was replaced while it was read") from error
            if not isinstance(found, Found) or not found.meta.names_same(stored.meta):
                body.close()
                raise VersionChanged("the object was replaced while it was read")
            if self._is_purged(use):
                body.close()
                raise VersionChanged(PURGED)
            resume_if(body, lambda: fill.is_wanted() and not self._is_purged(use))
            return body, self._whole_slices(found)

        fill = self._fill(use, numbers, reason)
        return self._fills.start(fill, ask, self._store.put)

    def _is_purged(self, use: Use) -> bool:
        """It may be replaced at the origin then, whatever its validator says: what was begun is not
        gone on with."""
        return self._catalog.is_purged(use.stored, use.purges)

    def _run(self, stored: StoredResponse, number: int, stop: int, window: int) -> range:
        """The slices from `number` to fetch at once: up to what is there or on its way."""
        last = min(stop, number + max(1, window // self.sizes.slice_size))
        taken = (n for n in range(number + 1, last) if not self._is_absent(stored.version, n))
        return range(number, next(taken, last))

    def _is_absent(self, version: str, number: int) -> bool:
        key = SliceKey(version, number)
        return not self._store.has(key) and self._fills.find(version, number) is None

    def _bytes_of(self, stored: StoredResponse, numbers: range) -> ByteSpan:
        size = self.sizes.slice_size
        return ByteSpan(numbers.start * size, min(numbers.stop * size, stored.meta.length))

    def _whole_slices(self, found: Found) -> range:
        """The slices that an answer's body holds to their last byte."""
        size, span = self.sizes.slice_size, found.span
        first = -(-span.start // size)
        ended = span.stop == found.meta.length
        return range(first, max(first, -(-span.stop // size) if ended else span.stop // size))

    def discard(self, found: Found | NotModified, body: Body) -> None:
        """Ends an answer that nobody needs, in its own time."""
        self._tasks.spawn(self._discard(found, body), name="discard")

    async def _discard(self, found: Found | NotModified, body: Body) -> None:
        resume_if(body, lambda: False)
        with closing(body), suppress(UpstreamError):
            if isinstance(found, NotModified) or len(found.span) <= DISCARD_LIMIT:
                while data := await body.read():
                    self._origins.metrics.wasted(Waste.DISCARDED, len(data))


async def _read(opened: OpenSlice, start: int, stop: int) -> Bytes | None:
    data = opened.read_nowait(start, stop)
    if data is not None:
        return data
    try:
        return await opened.read(start, stop)
    except StoreError:
        return None


async def _begins(buffer: SliceBuffer, patience: float) -> bool:
    """Whether the slice's first byte comes within so many seconds; an error is to be told, too."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            with suppress(EdgecacheError):
                await buffer.wait(0, 1)
            return True
    return False
