"""A slice file that is open and known to be right. Rule: never short bytes.

The descriptor lives as long as the last holder of the object, so a slice that is removed or
evicted can be read to its end.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor

from edgecache.core.errors import StoreError

# Linux: read what is in the page cache, do not wait for the disk. Elsewhere a thread reads.
NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)


class NoWait:
    """Whether reads without waiting work on this file system; found out once, by trying."""

    def __init__(self) -> None:
        self.works = bool(NOWAIT)


class DiskSlice:
    __slots__ = (
        "__weakref__",
        "_base",
        "_fd",
        "_nowait",
        "_threads",
        "length",
        "on_close",
        "on_failure",
    )

    def __init__(
        self, fd: int, *, base: int, length: int, nowait: NoWait, threads: Executor
    ) -> None:
        self.length = length
        self.on_close: Callable[[], None] | None = None
        self.on_failure: Callable[[], None] | None = None
        self._fd = fd
        self._base = base  # where the data starts in the file
        self._nowait = nowait
        self._threads = threads

    def read_nowait(self, start: int, stop: int) -> bytearray | None:
        if not self._nowait.works:
            return None
        # A fresh buffer costs a third more than a used one, but the transport may keep it.
        buffer = bytearray(stop - start)
        try:
            count = os.preadv(self._fd, [buffer], self._base + start, NOWAIT)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                self._nowait.works = False
            return None  # or EAGAIN; `read` finds out about the rest
        return buffer if count == stop - start else None

    async def read(self, start: int, stop: int) -> bytes:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._read, start, stop
            )
        except RuntimeError as error:
            raise StoreError("the store is closed") from error
        except StoreError:
            if self.on_failure is not None:
                self.on_failure()
            raise

    def _read(self, start: int, stop: int) -> bytes:
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
