"""The thread that changes the cache folder, and the trouble it meets.

Rules of this module: changes are done one after another, in the order in which they were asked
for. One that fails is `trouble`, which is logged once and lasts until a slice was written, or the
folder was tried, with success; it is tried as long as there is trouble, requests or not, and looked
at when there is none. What could not be removed is tried again, and counts until it is gone. While
files are looked for that are no slices, nobody knows what they take; folders that can't be looked
into are tried again, but nobody waits for them.
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
from edgecache.store.folder import NoRoom, SliceFolder
from edgecache.tasks import Tasks

log = logging.getLogger("edgecache.store")

# Kept free for each further change under way.
QUEUED_CHANGE = 32 * 2**10
# Files that a request's change removes with its own.
BATCH = 16
# Between two looks at the folder, or two tries of one that gives trouble, in seconds.
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
        self._going_size = 0  # of those that the thread is removing
        self._sweeping = self._watching = False
        self._unseen: list[str] = []  # folders where there may be files that are no slices
        self._failed: set[str] = set()  # of these, where the last look failed
        self._seeing: asyncio.Task[None] | None = None

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
        if isinstance(error, NoRoom):
            return  # nothing is wrong
        if not self.trouble:
            log.error("store trouble error=%s", error)
        self.trouble = str(error) or type(error).__name__
        if not self._watching:
            self._watching = True
            self._tasks.spawn(self._watch(), name="store-watch")

    def watch(self) -> None:
        """Find out by itself what is wrong with the folder."""
        self._tasks.spawn(self._inspect(), name="store-inspect")

    async def _inspect(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            if not self.trouble:
                with suppress(StoreError):
                    await self.change(self._folder.look)

    async def _watch(self) -> None:
        pause = self.interval if self._folder.usable else 0  # what is lost only gets older
        while self.trouble:
            await asyncio.sleep(pause)
            pause = self.interval
            with suppress(Exception):  # whatever it is, `trouble` says so: no reason not to go on
                await self.probe()
        self._watching = False

    async def probe(self) -> None:
        """Whether the trouble is over; where the index was lost, this makes another.

        :raises StoreError: it is not.
        """
        if not self._folder.usable:
            await self._attach()
        try:
            await self.change(self._folder.probe)
        except StoreError:
            if self._folder.usable:
                raise
            await self._attach()  # it was found out just now
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

    def look(self, places: list[str]) -> None:
        """Sweep what is there and is no slice; one folder at a time, as changes leave room."""
        self._unseen = places
        self._failed = set()
        if self._unseen and self._seeing is None:
            self._seeing = self._tasks.spawn(self._look(), name="store-look")

    async def _look(self) -> None:
        while self._unseen:
            place = self._unseen[-1]
            try:
                strays = await self.change(self._folder.strays, place, self._is_slice)
            except StoreError:
                self._pass(place)
                if not self.is_looking:
                    await asyncio.sleep(self.interval)
            else:
                self.sweep(strays)
                if self._unseen and self._unseen[-1] == place:  # not others meanwhile
                    self._unseen.pop()
                    self._failed.discard(place)
        self._seeing = None

    def _pass(self, place: str) -> None:
        """It comes after all others."""
        if self._unseen and self._unseen[-1] == place:
            self._unseen.insert(0, self._unseen.pop())
            self._failed.add(place)

    async def looked(self, patience: float) -> None:
        """Waits until all has been looked through, so many seconds at most."""
        if self._seeing is not None:
            await asyncio.wait([self._seeing], timeout=patience)

    @property
    def is_looking(self) -> bool:
        return len(self._failed) < len(self._unseen)

    def take(self) -> dict[str, int]:
        """Some of the files that have to go, for who can remove them sooner."""
        taken = self._pop(BATCH)
        return {name: size for name, size in taken.items() if not self._is_slice(name)}

    def _pop(self, most: int) -> dict[str, int]:
        popped = {name: self._unswept.pop(name) for name in list(islice(self._unswept, most))}
        self._unswept_size -= sum(popped.values())
        return popped

    async def _sweep(self) -> None:
        while self._unswept:
            # Out before the thread judges them: what goes once more meanwhile is entered anew.
            going = self._pop(self._folder.batch)
            self._going_size = size = sum(going.values())
            try:
                await self.change(self._folder.remove, list(going), self._is_slice)
            except StoreError:
                self._going_size = 0
                self.sweep({n: size for n, size in going.items() if n not in self._unswept})
                await asyncio.sleep(self.interval)
            else:
                self._going_size = 0
                self._on_swept(size)
        self._sweeping = False

    @property
    def unswept(self) -> int:
        """Bytes of files that are out of the books, but not off the disk yet."""
        return self._unswept_size + self._going_size

    @property
    def reserve(self) -> int:
        """Bytes to keep free of slices."""
        database = self._folder.footprint + self._folder.growth
        return database + self._folder.change + QUEUED_CHANGE * self._changes + self.unswept

    @property
    def footprint(self) -> int:
        """Bytes of all but slices."""
        return self._folder.footprint

    async def close(self) -> None:
        """After all changes that were asked for."""
        await self._tasks.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._folder.close)
        self._thread.shutdown(wait=False)
