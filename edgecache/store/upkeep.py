"""What the store does by the clock. Rule of this module: hits are written down in batches, small
ones, so that whatever else the writer has to do never waits long; and never at a hit.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain, islice

from edgecache.core.errors import StoreError
from edgecache.store.folder import SliceFolder
from edgecache.store.index import Use
from edgecache.store.writer import StoreWriter
from edgecache.tasks import Tasks

# Seconds between two looks at what others leave of the disk, and two times that hits are written.
LOOK_EVERY = 1.0
REMEMBER_EVERY = 30.0
# Seconds that the end of the store waits for it.
END_PATIENCE = 2.0
# Rows in one transaction.
ROWS = 250


class Upkeep:
    def __init__(
        self,
        folder: SliceFolder,
        writer: StoreWriter,
        tasks: Tasks,
        *,
        uses: Callable[[], Iterable[Use]],
        age: Callable[[], float],
        on_look: Callable[[int, int], None],
    ) -> None:
        """`uses` gives what has changed since it was asked last, `age` what goes with it; `on_look`
        is told how many bytes of the file system are free, and what all but slices took then."""
        self._folder = folder
        self._writer = writer
        self._tasks = tasks
        self._uses = uses
        self._age = age
        self._on_look = on_look
        self._unwritten: Iterable[Use] = ()

    def start(self, *, looks: bool) -> None:
        self._tasks.spawn(self._remember(), name="store-remember")
        if looks:
            self._tasks.spawn(self._look(), name="store-look-free")

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        # In the writer's order: what it wrote before is on the disk, and nothing else yet.
        found = await self._writer.change(self._folder.free)
        if found is not None:
            self._on_look(*found)

    async def _remember(self) -> None:
        while True:
            await asyncio.sleep(REMEMBER_EVERY)
            await self.remember()

    async def remember(self) -> None:
        """Write down how much the slices are used. What fails is lost: it is only a hint."""
        if not self._folder.usable:
            return
        # Not a list: to make one of a million would hold up the answers for a second.
        self._unwritten = unwritten = chain(self._unwritten, self._uses())
        try:
            while rows := list(islice(unwritten, ROWS)):
                await self._writer.change(self._folder.remember, rows, self._age())
        except StoreError:
            self._unwritten = ()  # kept, it would grow for as long as the disk refuses

    async def end(self) -> None:
        """Write down the rest, as far as it gets in a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_PATIENCE):
                await self.remember()
