"""The rows of a store on disk that are no slices': stored responses and purge marks.

Rule of this module: one thread writes, another reads; what fails is a `False`, or not known.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgecache.core.errors import StoreError
from edgecache.core.marks import Mark, Marks
from edgecache.core.model import ObjectKey, ObjectMeta, Removal
from edgecache.store import Step
from edgecache.store.folder import SliceFolder
from edgecache.store.rows import RowRefused
from edgecache.store.writer import StoreWriter

log = logging.getLogger("edgecache.store")


class DiskRows:
    """What of a `SliceStore` needs no slice."""

    _folder: SliceFolder
    _writer: StoreWriter
    _index_reader: ThreadPoolExecutor
    _on_removal: Callable[[Removal, int], None]
    _attached: bool
    _closed: bool
    marks: Marks

    @property
    def _usable(self) -> bool:
        return self._attached and self._folder.usable and not self._closed

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        if not self._usable:
            return None
        load = self._folder.index.load_meta
        try:
            return await asyncio.get_running_loop().run_in_executor(self._index_reader, load, key)
        except StoreError as error:
            log.debug("stored response not read error=%s", error)
        except RowRefused:
            self._on_removal(Removal.CORRUPT, 0)
            await self.remove_meta(key)
        return None

    async def remove_meta(self, key: ObjectKey) -> bool:
        if not self._usable:
            return False
        return await self._done(self._writer.change(self._folder.remove_meta, key))

    async def save_mark(self, mark: Mark) -> bool:
        return self._usable and await self._done(self._writer.change(self._folder.save_mark, mark))

    async def save_count(self) -> bool:
        return self._usable and await self._done(
            self._writer.change(self._folder.save_count, self.marks.last)
        )

    async def remove_mark(self, mark: Mark) -> bool:
        return self._usable and await self._done(
            self._writer.change(self._folder.remove_mark, mark)
        )

    async def step(self, mark: Mark, after: str) -> Step | None:
        if not self._usable:
            return None
        step = self._folder.index.step
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._index_reader, step, mark, after
            )
        except StoreError as error:
            log.debug("stored responses not read error=%s", error)
            return None

    async def settle(self, mark: Mark, keys: Sequence[ObjectKey]) -> int | None:
        if not self._usable:
            return None
        settling = self._writer.change(self._folder.settle, mark, keys)
        return settling.result() if await self._done(settling) else None

    @staticmethod
    async def _done(change: asyncio.Future[Any]) -> bool:
        await asyncio.wait([change])
        return change.exception() is None
