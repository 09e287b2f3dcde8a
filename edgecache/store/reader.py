"""The cache folder as a worker reads it, while the keeper writes. Rules of this module: nothing is
written; what the keeper removed is let go of within a second, so that its bound stays true.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.store.files import SliceFiles
from edgecache.store.open_slice import DiskSlice, OpenSlices
from edgecache.store.opening import Openings
from edgecache.store.row_reader import RowReader

# Slices whose uses are counted between two reports.
MOST_COUNTED = 10_000


class ReadStore:
    def __init__(self, directory: Path, *, slice_size: int, most_open: int) -> None:
        files = SliceFiles(directory.absolute(), slice_size)
        self._rows = RowReader(directory, files)
        self._kept = OpenSlices(most_open)
        self._openings = Openings(
            files, self._kept, is_wanted=lambda _: True, on_wrong=self._kept.forget
        )
        self._thread = ThreadPoolExecutor(1, "edgecache-index")
        self._uses: dict[SliceKey, int] = {}

    async def close(self) -> None:
        self._kept.clear()
        await self._openings.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._rows.close)
        self._thread.shutdown(wait=False)

    def opened(self, key: SliceKey) -> DiskSlice | None:
        """The slice if it is open; counts as a use."""
        if (found := self._kept.get(key)) is not None:
            self.used(key, 1)
        return found

    async def open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice | None:
        """The slice, verified; None: there is no such slice, or a damaged one."""
        if (found := self.opened(key)) is not None:
            return found
        await self._openings.open(key, meta)
        return self.opened(key)

    def used(self, key: SliceKey, count: int) -> None:
        if key in self._uses or len(self._uses) < MOST_COUNTED:
            self._uses[key] = self._uses.get(key, 0) + count

    def uses(self) -> dict[SliceKey, int]:
        """What was used since the last call, and how often."""
        uses, self._uses = self._uses, {}
        return uses

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._rows.load_meta, key
        )

    async def slices(self, version: str) -> set[int]:
        """The numbers of the slices that the version has."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._rows.slices, version
        )

    async def release(self) -> int:
        """Lets go of what is no longer in the folder; how many slices those were."""
        kept = self._kept.all()
        gone = await asyncio.get_running_loop().run_in_executor(self._thread, removed, kept)
        for key in gone:
            self._kept.forget(key)
        return len(gone)


def removed(kept: list[tuple[SliceKey, DiskSlice]]) -> list[SliceKey]:
    """Those whose file has no name any more."""
    return [key for key, opened in kept if os.fstat(opened.fileno()).st_nlink == 0]
