"""Stored responses that are too many, and go. Rule of this module: a little at a time, for there
may be a million of them; what the index's log may grow by is kept free for one batch only.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from edgecache.core.errors import StoreError
from edgecache.core.ledger import Ledger
from edgecache.store.folder import SliceFolder
from edgecache.store.writer import StoreWriter
from edgecache.tasks import Tasks

# Versions that are entered at a time, between answers: a millisecond of the loop's.
STEP = 1000


class SpareRows:
    def __init__(
        self,
        folder: SliceFolder,
        writer: StoreWriter,
        tasks: Tasks,
        ledger: Callable[[], Ledger],
    ) -> None:
        """`ledger` gives the present one: it is another once the folder was opened anew."""
        self._folder = folder
        self._writer = writer
        self._tasks = tasks
        self._ledger = ledger
        self._forgetting = False

    def learn(self) -> None:
        """Enter those that have no slice: the folder was opened."""
        self._tasks.spawn(self._learn(), name="store-learn")

    async def _learn(self) -> None:
        ledger = self._ledger()
        with suppress(StoreError):
            versions = await self._writer.change(self._folder.other_versions, ledger.has_version)
            while versions and self._ledger() is ledger:
                for version in versions[-STEP:]:
                    if not ledger.has_version(version):  # by now
                        ledger.meta_saved(version)
                del versions[-STEP:]
                self.forget()
                await asyncio.sleep(0)

    def forget(self) -> None:
        """Remove those that are too many."""
        if self._ledger().spare_excess > 0 and not self._forgetting:
            self._forgetting = True
            self._tasks.spawn(self._forget(), name="store-forget")

    async def _forget(self) -> None:
        """What fails is found again at the next start; the rest waits for the next try."""
        try:
            with suppress(StoreError):
                # Asked for in the same turn: who saves one of them anew comes after that.
                while versions := self._ledger().emptied(most=self._folder.batch):
                    await self._writer.change(self._folder.forget, versions)
        finally:
            self._forgetting = False
