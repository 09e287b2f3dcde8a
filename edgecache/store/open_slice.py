"""Slice files that are open. Rule: never short bytes, nor any that were not verified, nor any of a
file that was written to since; so each read looks at its time afterwards, for a microsecond.

A part is verified as it is read for the first time, in the very bytes that are given then: of a
slice that was not in memory, no more comes from the disk than who reads it needs.

A descriptor lives as long as the last holder of its object, so a slice that is removed or evicted
can be read to its end; until then its bytes count.
"""

import asyncio
import errno
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from weakref import WeakValueDictionary

from edgecache.core.errors import StoreError
from edgecache.core.model import Removal, SliceKey
from edgecache.store import Bytes
from edgecache.store.at_once import NOWAIT
from edgecache.store.files import OpenedFile, WrongSlice
from edgecache.store.slice_format import PART, SUM, fits


class NoWait:
    """Whether reads without waiting work on this file system; found out once, by trying. Where they
    don't, a thread reads."""

    def __init__(self) -> None:
        self.works = bool(NOWAIT)


class DiskSlice:
    __slots__ = (
        "__weakref__",
        "_base",
        "_checksums",
        "_fd",
        "_nowait",
        "_on_verified",
        "_threads",
        "_unverified",
        "_written",
        "length",
        "on_close",
        "on_failure",
    )

    def __init__(self, file: OpenedFile, *, nowait: NoWait, threads: Executor) -> None:
        self.length = file.length
        self.on_close: Callable[[], None] | None = None
        self.on_failure: Callable[[WrongSlice], None] | None = None
        self._fd = file.fd
        self._base = file.base
        self._written = file.written
        self._checksums, self._on_verified = file.checksums, file.on_verified
        # Parts, as bits: all but the first. One that comes back, as two threads take one out each,
        # is verified again.
        self._unverified = (1 << len(file.checksums) // SUM) - 1 & ~1
        self._nowait = nowait
        self._threads = threads

    def fileno(self) -> int:
        return self._fd

    def read_nowait(self, start: int, stop: int, into: memoryview | None = None) -> Bytes | None:
        if not self._nowait.works:
            return None
        if self._unverified and (wide := self._widened(start, stop)) != (start, stop):
            data = self.read_nowait(*wide)  # whole parts, to verify them
            return None if data is None else cut(data, start - wide[0], stop - start, into)
        buffer = bytearray(stop - start) if into is None else into
        try:
            count = os.preadv(self._fd, [buffer], self._base + start, NOWAIT)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                self._nowait.works = False
            return None  # or EAGAIN; `read` finds out about the rest
        if count != stop - start or not self._is_untouched():
            return None
        return buffer if not self._unverified or self._verify(start, buffer) else None

    def _widened(self, start: int, stop: int) -> tuple[int, int]:
        """What has to be read for those bytes: whole parts, where they are not verified."""
        first, last = start // PART, max(start, stop - 1) // PART
        if self._unverified >> first & 1:
            start = first * PART
        if self._unverified >> last & 1:
            stop = min((last + 1) * PART, self.length)
        return start, stop

    def _verify(self, start: int, data: Bytes) -> bool:
        """Whether the parts are right that are whole in `data`, which is from `start` on: of others
        `_widened` knew that they are."""
        for number in range(-(-start // PART), -(-(start + len(data)) // PART)):
            at = number * PART - start
            part = memoryview(data)[at : at + PART]
            if not self._unverified >> number & 1 or len(part) < self._length_of(number):
                continue
            if not fits(part, self._checksums, number):
                return False
            self._unverified &= ~(1 << number)
        if not self._unverified and (on_verified := self._on_verified) is not None:
            self._on_verified = None
            on_verified()
        return True

    def _length_of(self, part: int) -> int:
        return min(PART, self.length - part * PART)

    def _is_untouched(self) -> bool:
        return os.fstat(self._fd).st_mtime_ns == self._written

    async def read(self, start: int, stop: int) -> Bytes:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._read, start, stop
            )
        except RuntimeError as error:
            raise StoreError("the store is closed") from error
        except StoreError as error:
            if self.on_failure is not None:
                unread = isinstance(error.__cause__, OSError)
                reason = Removal.UNREAD if unread else Removal.CORRUPT
                self.on_failure(WrongSlice(str(error), reason))
            raise

    def _read(self, start: int, stop: int) -> Bytes:
        wide = self._widened(start, stop)
        data = self._read_whole(*wide)
        if not self._is_untouched():
            raise StoreError("a slice's file was written to")
        if self._unverified and not self._verify(wide[0], data):
            raise StoreError("a slice's content is wrong")
        return cut(data, start - wide[0], stop - start, None)

    def _read_whole(self, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop:
            try:
                piece = os.pread(self._fd, stop - start, self._base + start)
            except OSError as error:
                raise StoreError(error.strerror or "read error") from error
            if not piece:
                raise StoreError("a slice's file was cut short")
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __del__(self) -> None:
        os.close(self._fd)
        if self.on_close is not None:
            self.on_close()


def cut(data: Bytes, start: int, length: int, into: memoryview | None) -> Bytes:
    """`length` bytes of `data`, in `into` if that is given."""
    if into is None:
        return data if len(data) == length else memoryview(data)[start : start + length]
    into[:] = memoryview(data)[start : start + length]
    return into


class OpenSlices:
    """The slices that stay open, the least recently used out first."""

    def __init__(self, most: int, *, on_free: Callable[[int], None] = lambda _: None) -> None:
        """`on_free`: so many bytes do not count as unlinked any more."""
        self._most = most
        self._on_free = on_free
        self._kept: OrderedDict[SliceKey, DiskSlice] = OrderedDict()
        self._held: WeakValueDictionary[SliceKey, DiskSlice] = WeakValueDictionary()
        self._unlinked = 0
        self._closed: deque[int] = deque()  # sizes, from whatever thread let go of a slice

    def get(self, key: SliceKey) -> DiskSlice | None:
        """For hot hits: nothing but two look-ups."""
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return found

    def held(self, key: SliceKey) -> DiskSlice | None:
        """One that is out of the list, but that somebody still reads."""
        return self._held.get(key)

    def keep(self, key: SliceKey, opened: DiskSlice) -> None:
        self._kept[key] = self._held[key] = opened
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def all(self) -> list[tuple[SliceKey, DiskSlice]]:
        return list(self._kept.items())

    def forget(self, key: SliceKey) -> None:
        """For those to whom it is no matter who still reads it."""
        self._kept.pop(key, None)
        self._held.pop(key, None)

    def drop(self, key: SliceKey, size: int) -> bool:
        """The file goes. True: somebody reads it, until then its `size` counts as unlinked."""
        self._kept.pop(key, None)
        if (reader := self._held.pop(key, None)) is None:
            return False
        self._unlinked += size
        reader.on_close = partial(self._closed.append, size)
        return True

    @property
    def unlinked(self) -> int:
        """Bytes of files that are gone, but for those who still read them."""
        while self._closed:
            size = self._closed.popleft()
            self._unlinked -= size
            self._on_free(size)
        return self._unlinked

    def clear(self) -> None:
        self._kept.clear()
