"""The thread that changes the cache folder, and the trouble it meets.

Rules of this module: changes are done one after another, in the order in which they were asked
for. One that fails is `trouble`, which is logged once and lasts until a slice was written, or the
folder was tried, with success; it is tried as long as there is trouble, requests or not. What
could not be removed is tried again, and counts until it is gone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import ParamSpec, TypeVar

from edgecache.core.errors import StoreError
from edgecache.store.folder import SliceFolder
from edgecache.tasks import Tasks

log = logging.getLogger("edgecache.store")

# Kept free for what SQLite writes for one change, and for each further change under way.
CHANGE = 384 * 2**10
QUEUED_CHANGE = 32 * 2**10
# Files that are removed in one transaction.
BATCH = 16
# Between two tries of a folder that gives trouble, in seconds.
PROBE_INTERVAL = 5.0

Parameters = ParamSpec("Parameters")
T = TypeVar("T")


class StoreWriter:
    def __init__(
        self,
        folder: SliceFolder,
        *,
        is_slice: Callable[[str], bool],
        attach: Callable[[], Awaitable[None]],
        on_swept: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_swept`: so many bytes do not count as unswept any more."""
        self.trouble = ""
        self.interval = PROBE_INTERVAL
        self._folder = folder
        self._is_slice = is_slice
        self._attach = attach
        self._on_swept = on_swept
        self._thread = ThreadPoolExecutor(1, "edgecache-writer")
        self._tasks = Tasks()
        self._changes = 0  # under way
        self._unswept: dict[str, int] = {}  # names of files that have to go, with their sizes
        self._unswept_size = 0
        self._sweeping = self._watching = False

    def change(
        self,
        function: Callable[Parameters, T],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> asyncio.Future[T]:
        """Have the thread do it, after all that it was given before."""
        change = asyncio.get_running_loop().run_in_executor(
            self._thread, partial(function, *args, **kwargs)
        )
        self._changes += 1
        change.add_done_callback(self._end_change)
        return change

    def _end_change(self, change: asyncio.Future[T]) -> None:
        self._changes -= 1
        if change.cancelled() or (error := change.exception()) is None:
            return
        if not self.trouble:
            log.error("store trouble error=%s", error)
        self.trouble = str(error) or type(error).__name__
        if not self._watching:
            self._watching = True
            self._tasks.spawn(self._watch(), name="store-watch")

    async def _watch(self) -> None:
        while self.trouble:
            await asyncio.sleep(self.interval)
            with suppress(StoreError):
                await self.probe()
        self._watching = False

    async def probe(self) -> None:
        """Whether the trouble is over; where the index was lost, this makes another.

        :raises StoreError: it is not.
        """
        if not self._folder.usable:
            await self._attach()
        await self.change(self._folder.probe)
        self.end_trouble()

    def end_trouble(self) -> None:
        if self.trouble:
            log.warning("store trouble over error=%s", self.trouble)
        self.trouble = ""

    def sweep(self, files: dict[str, int]) -> None:
        """Remove files in small batches, between the changes that requests ask for."""
        for name, size in files.items():
            self._unswept_size += size - self._unswept.get(name, 0)
            self._unswept[name] = size
        if self._unswept and not self._sweeping:
            self._sweeping = True
            self._tasks.spawn(self._sweep(), name="store-sweep")

    def take(self) -> dict[str, int]:
        """Some of the files that have to go, for who can remove them sooner."""
        taken = {name: self._unswept.pop(name) for name in list(islice(self._unswept, BATCH))}
        self._unswept_size -= sum(taken.values())
        return {name: size for name, size in taken.items() if not self._is_slice(name)}

    async def _sweep(self) -> None:
        while self._unswept:
            names = list(islice(self._unswept, BATCH))
            try:
                await self.change(self._folder.remove, names, self._is_slice)
            except StoreError:
                await asyncio.sleep(self.interval)
            else:
                size = sum(self._unswept.pop(name, 0) for name in names)
                self._unswept_size -= size
                self._on_swept(size)
        self._sweeping = False

    @property
    def unswept(self) -> int:
        """Bytes of files that are out of the books, but not off the disk yet."""
        return self._unswept_size

    @property
    def reserve(self) -> int:
        """Bytes to keep free of slices."""
        database = self._folder.footprint + self._folder.growth
        return database + CHANGE + QUEUED_CHANGE * self._changes + self._unswept_size

    async def close(self) -> None:
        """After all changes that were asked for."""
        await self._tasks.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._folder.close)
        self._thread.shutdown(wait=False)
