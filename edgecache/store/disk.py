"""A `SliceStore` in a folder: slices and stored responses on disk, within a byte bound."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from edgecache.core.errors import StoreError
from edgecache.core.ledger import Gone, Ledger
from edgecache.core.model import ObjectKey, ObjectMeta, Removal, SliceKey
from edgecache.descriptors import most_slices
from edgecache.store import Bytes
from edgecache.store.files import BLOCK, slice_cost
from edgecache.store.folder import FolderInUse, SliceFolder
from edgecache.store.lingering import Lingering
from edgecache.store.open_slice import DiskSlice, OpenSlices
from edgecache.store.opening import Openings
from edgecache.store.rows import RowRefused
from edgecache.store.writer import StoreWriter

log = logging.getLogger("edgecache.store")

# Stored responses without a slice, at most; fewer in a small cache.
SPARE_METAS = 10_000
OPEN_SLICES = 4096
# How often more is evicted for one slice, where what went before is still being read.
ROUNDS = 4


class DiskStore:
    """A `SliceStore` in a folder.

    What is decided is in the ledger before the first await, and threads do what takes time: one
    writes, one reads the index, some read files.

    Files that were removed take their room for as long as another process has them open. So where
    there are others, some room is left for that, and what would need more waits: evicting more
    would gain nothing sooner.
    """

    def __init__(
        self,
        directory: Path,
        *,
        limit: int,
        slice_size: int,
        linger: float = 0.0,
        on_unlinked: Callable[[], None] = lambda: None,
        on_removal: Callable[[Removal, int], None] = lambda _reason, _size: None,
    ) -> None:
        """`linger`: seconds for which other processes may still hold a removed slice open, from
        when `on_unlinked` was called."""
        self._limit = limit
        self._slice_size = slice_size
        self._on_removal = on_removal
        self._attached = self._closed = self._damaged = False
        self._linger = linger
        self._lingering = Lingering(linger, on_removal=on_unlinked)
        self._leaving = 0  # bytes of files that the changes under way remove first
        self._slack = slack(limit, slice_size) if linger else 0
        self._ledger = self._new_ledger()
        self._folder = SliceFolder(directory.absolute(), limit=limit, slice_size=slice_size)
        self._writer = StoreWriter(
            self._folder,
            is_slice=self._is_slice,
            attach=self._attach,
            on_swept=self._lingering.add,
        )
        self._writing: dict[SliceKey, asyncio.Future[None]] = {}
        self._open = OpenSlices(most_open(), on_free=self._lingering.add)
        self._openings = Openings(
            self._folder.files,
            self._open,
            is_wanted=lambda key: self.has(key) and not self._closed,
            on_wrong=self._remove,
        )
        self._index_reader = ThreadPoolExecutor(1, "edgecache-index")

    def _is_slice(self, name: str) -> bool:
        key = self._folder.files.key(name)
        return key is not None and key in self._ledger

    def _new_ledger(self) -> Ledger:
        return Ledger(spare=min(SPARE_METAS, self._limit // 2**16))

    async def start(self) -> None:
        try:
            await self._attach()
        except FolderInUse:
            await self.close()
            raise
        except StoreError:
            pass  # `trouble` says so, and the writer goes on trying

    async def _attach(self) -> None:
        """Know what the folder holds, which replaces all that was known."""
        self._attached = False
        contents = await self._writer.change(self._folder.attach)
        self._ledger = self._new_ledger()
        self._open.clear()
        files = contents.leftovers
        files |= self._settle(self._ledger.load(contents.slices, self._budget()))
        for version in contents.versions:
            self._ledger.meta_saved(version)
        for _ in range(contents.refused):
            self._on_removal(Removal.CORRUPT, 0)
        if contents.slices or contents.leftovers:
            self._lingering.add(self._slack)  # what the last process may just have removed
        self._attached = True
        if self._budget() < self._slice_size:
            log.warning("cache.size leaves no room for slices bytes=%d", self._limit)
        self._writer.sweep(files)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._open.clear()
        await self._openings.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._index_reader, self._folder.index.close_reader)
        await self._writer.close()
        self._index_reader.shutdown(wait=False)

    @property
    def _usable(self) -> bool:
        return self._attached and self._folder.usable and not self._closed

    def has(self, key: SliceKey) -> bool:
        return key in self._ledger and key not in self._writing

    def opened(self, key: SliceKey) -> DiskSlice | None:
        if (found := self._open.get(key)) is not None:
            self._ledger.access(key)
        return found

    def used(self, key: SliceKey, count: int) -> None:
        self._ledger.access(key)

    async def open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice | None:
        if (found := self.opened(key)) is not None:
            return found
        if self._closed or not self.has(key):
            return None
        if (found := await self._openings.open(key, meta)) is not None:
            self._ledger.access(key)
        return found

    def _remove(self, key: SliceKey) -> None:
        if self.has(key) and not self._closed:
            if not self._damaged:
                log.warning("a slice is damaged, and removed; further ones are only counted")
            self._damaged = True
            self._writer.sweep(self._settle(self._ledger.remove(key, Removal.CORRUPT)))

    async def put(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        if not self._usable or not self._fits(key, meta, data):
            return False
        if (writing := self._writing.get(key)) is None:
            if key in self._ledger:
                return True
            if (gone := self._make_room(key, meta, data)) is None:
                return False
            self._leaving += sum(gone.values())
            writing = self._writer.change(self._folder.write, gone, key, meta, data)
            self._writing[key] = writing
            writing.add_done_callback(partial(self._end_writing, key, gone))
        await asyncio.wait([writing])
        return self.has(key)

    def _fits(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        length = min(self._slice_size, meta.length - key.number * self._slice_size)
        return key.version == meta.version and len(data) == length > 0

    def _make_room(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> dict[str, int] | None:
        """Enter the slice; the files that must go before it is written. None: there is no room."""
        size = slice_cost(self._folder.files.length(meta, data))
        gone = self._writer.take()
        budget = self._budget()
        # While much has to be swept, what is good does not go for what goes anyway.
        full = self._writer.unswept and self._ledger.size + size > budget
        if full or size > budget or self._is_crowded(size + sum(gone.values())):
            self._writer.sweep(gone)
            return None
        gone |= self._settle(self._ledger.add(key, size, budget))
        for _ in range(ROUNDS):
            if self._ledger.size <= (budget := self._budget()):
                return gone
            if size > budget:
                break
            gone |= self._settle(self._ledger.shrink(budget))
        # Most of what went is still being read, so it takes its room all the same.
        self._ledger.remove(key, Removal.EVICTED)
        self._writer.sweep(gone)
        return None

    def _end_writing(
        self, key: SliceKey, gone: dict[str, int], writing: asyncio.Future[None]
    ) -> None:
        del self._writing[key]
        left = sum(gone.values())
        self._leaving -= left
        if writing.exception() is None:
            self._lingering.add(left)
            self._writer.end_trouble()
        else:
            self._ledger.remove(key, Removal.CORRUPT)
            self._writer.sweep(gone | {self._folder.files.name(key): 0})

    def _budget(self) -> int:
        """What slices may take, now."""
        return self._limit - self._writer.reserve - self._open.unlinked - self._slack

    @property
    def _held(self) -> int:
        """Bytes that are out of the books, but that other processes may hold open."""
        return self._leaving + self._lingering.size if self._linger else 0

    def _is_crowded(self, size: int) -> bool:
        """Whether there is no room for so many bytes more until others let go of what is gone."""
        room = self._budget() + self._slack  # first: it sees what else begins to linger
        return self._linger > 0 and self._ledger.size + self._held + size > room

    def _settle(self, gone: list[Gone]) -> dict[str, int]:
        """The files of what is out of the ledger, after everybody else was told."""
        files = {}
        for key, size, reason in gone:
            self._on_removal(reason, size)
            read = self._open.drop(key, size)
            files[self._folder.files.name(key)] = 0 if read else size
        self._forget_metas()
        return files

    def supersede(self, version: str, slices: range) -> None:
        self._ledger.supersede(version, slices)

    def discard(self, version: str, slices: range) -> None:
        gone = [
            one
            for number in slices
            for one in self._ledger.remove(SliceKey(version, number), Removal.PURGED)
        ]
        self._writer.sweep(self._settle(gone))

    async def clear(self) -> bool:
        self._writer.sweep(self._settle(self._ledger.clear()))
        if not self._usable:
            return False
        clearing = self._writer.change(self._folder.forget_all)
        await asyncio.wait([clearing])
        return clearing.exception() is None

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

    async def save_meta(self, meta: ObjectMeta) -> bool:
        if not self._usable:
            return False
        if not self._writer.unswept:  # else what is good would go for what goes anyway
            self._writer.sweep(self._settle(self._ledger.shrink(self._budget())))
        if self._budget() < 0 or self._is_crowded(0):
            return False
        self._ledger.meta_saved(meta.version)
        self._forget_metas()
        saving = self._writer.change(self._folder.save_meta, meta)
        await asyncio.wait([saving])
        return saving.exception() is None and saving.result()

    async def remove_meta(self, key: ObjectKey) -> bool:
        if not self._usable:
            return False
        removing = self._writer.change(self._folder.remove_meta, key)
        await asyncio.wait([removing])
        return removing.exception() is None

    def _forget_metas(self) -> None:
        if versions := self._ledger.emptied():
            self._writer.change(self._folder.forget, versions)

    def trouble(self) -> str:
        return self._writer.trouble

    @property
    def size(self) -> int:
        files = self._ledger.size + self._writer.unswept + self._open.unlinked + self._held
        return files + self._folder.footprint

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def slices(self) -> int:
        return len(self._ledger)


def slack(limit: int, slice_size: int) -> int:
    """Bytes to leave for what lingers: a fiftieth, but some slices, but not too much."""
    return min(limit // 4, max(limit // 50, 4 * slice_cost(slice_size + BLOCK)))


def most_open() -> int:
    """Slices to keep open: most descriptors are for connections."""
    return min(OPEN_SLICES, most_slices())
