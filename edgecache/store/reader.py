"""The cache folder as a worker reads it, while the keeper writes. Rules of this module: nothing is
written; what the keeper removed is let go of at the next `release`, so that its bound stays true.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.store.files import SliceFiles
from edgecache.store.open_slice import DiskSlice, OpenSlices
from edgecache.store.opening import Openings
from edgecache.store.row_reader import RowReader

# Slices whose uses are counted between two reports.
MOST_COUNTED = 10_000

Parameters = ParamSpec("Parameters")
T = TypeVar("T")


class ReadStore:
    def __init__(self, directory: Path, *, slice_size: int, most_open: int) -> None:
        files = SliceFiles(directory.absolute(), slice_size)
        self._rows = RowReader(directory, files)
        self._kept = OpenSlices(most_open)
        self._openings = Openings(
            files,
            self._kept,
            is_wanted=lambda _: not self._closed,
            on_wrong=lambda key, _: self._kept.forget(key),
        )
        self._thread = ThreadPoolExecutor(1, "edgecache-index")
        self._uses: dict[SliceKey, int] = {}
        self._closed = False

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._kept.clear()
        await self._openings.close()
        await self._in_thread(self._rows.close)
        self._thread.shutdown(wait=False)

    def _in_thread(
        self, call: Callable[Parameters, T], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(
            self._thread, partial(call, *args, **kwargs)
        )

    def opened(self, key: SliceKey) -> DiskSlice | None:
        """The slice if it is open; counts as a use."""
        if (found := self._kept.get(key)) is not None:
            if (before := self._uses.get(key)) is not None:
                self._uses[key] = before + 1  # without a call: hits come through here
            else:
                self.used(key, 1)
        return found

    async def open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice | None:
        """The slice, verified; None: there is no such slice, or a damaged one."""
        if (found := self.opened(key)) is not None:
            return found
        if self._closed:
            return None
        if (found := await self._openings.open(key, meta)) is not None:
            self.used(key, 1)
        return found

    def used(self, key: SliceKey, count: int) -> None:
        if (before := self._uses.get(key)) is not None:
            self._uses[key] = before + count
        elif len(self._uses) < MOST_COUNTED:
            self._uses[key] = count

    def uses(self) -> dict[SliceKey, int]:
        """What was used since the last call, and how often."""
        uses, self._uses = self._uses, {}
        return uses

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        return None if self._closed else await self._in_thread(self._rows.load_meta, key)

    async def slices(self, version: str) -> set[int]:
        """The numbers of the slices that the version has."""
        return set() if self._closed else await self._in_thread(self._rows.slices, version)

    async def release(self) -> int:
        """Lets go of what is no longer in the folder; how many slices those were."""
        if self._closed:
            return 0
        kept = self._kept.all()
        # Numbers: what the thread held of the slices could outlast this call.
        gone = await self._in_thread(unlinked, [opened.fileno() for _, opened in kept])
        for place in gone:
            self._kept.forget(kept[place][0])
        return len(gone)


def unlinked(descriptors: list[int]) -> list[int]:
    """The places of those whose file has no name any more."""
    return [
        place for place, descriptor in enumerate(descriptors) if os.fstat(descriptor).st_nlink == 0
    ]
