"""A `SliceStore` in a folder: slices and stored responses on disk, within a byte bound."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from edgecache.core.admission import EVERYTHING, Admission
from edgecache.core.errors import StoreError
from edgecache.core.ledger import Gone, Ledger
from edgecache.core.marks import Marks
from edgecache.core.model import ObjectMeta, Removal, SliceKey
from edgecache.core.policies import make_policy
from edgecache.core.policy import Popularity
from edgecache.descriptors import most_slices
from edgecache.memory import return_freed_memory
from edgecache.store import Bytes
from edgecache.store.disk_rows import DiskRows
from edgecache.store.files import WrongSlice, slice_cost
from edgecache.store.folder import FolderInUse, SliceFolder
from edgecache.store.index import Use
from edgecache.store.lingering import Lingering
from edgecache.store.open_slice import DiskSlice, OpenSlices
from edgecache.store.opening import Openings
from edgecache.store.room import Room
from edgecache.store.spare_rows import SpareRows
from edgecache.store.upkeep import Upkeep
from edgecache.store.writer import StoreWriter
from edgecache.store.wrong_slices import WrongSlices
from edgecache.tasks import Tasks

log = logging.getLogger("edgecache.store")

# Stored responses without a slice, at most; fewer in a small cache.
SPARE_METAS = 10_000
OPEN_SLICES = 4096
# Seconds that a start waits to have seen all files, before which nothing is stored.
LOOKING = 0.25
# How often more is evicted for one slice, where what went before is still being read.
ROUNDS = 4
# Slices that are evicted at a time, between answers: some milliseconds of the loop's.
STEP = 128


class DiskStore(DiskRows):
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
        policy: str = "lfuda",
        admission: Admission = EVERYTHING,
        min_free: int = 0,
        linger: float = 0.0,
        on_unlinked: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        on_removal: Callable[[Removal, int], None] = lambda _reason, _size: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`min_free`: bytes of the file system that stay free, also where others fill it.
        `linger`: seconds for which other processes may still hold a removed slice open, from
        when `on_unlinked` was called. `on_lost`: what the folder held is gone, or was another's."""
        self.admission = admission
        self._limit, self._min_free, self._policy = limit, min_free, policy
        self._clock, self._tasks = clock, Tasks()
        self._slice_size = slice_size
        self._on_removal, self._on_lost = on_removal, on_lost
        self._attached = self._closed = self._evicting = False
        self._lingering = Lingering(linger, on_removal=on_unlinked)
        self.marks = Marks()
        self._ledger = self._new_ledger()
        self._folder = SliceFolder(
            directory.absolute(),
            limit=limit,
            slice_size=slice_size,
            min_free=min_free,
            policy=policy,
            pins=lambda: self.admission.pins,
        )
        self._writer = StoreWriter(
            self._folder, is_slice=self._is_slice, attach=self._attach, on_swept=self._lingering.add
        )
        self._losses, self._wrong = 0, WrongSlices()
        self._writing: dict[SliceKey, asyncio.Future[None]] = {}
        self._open = OpenSlices(most_open(), on_free=self._lingering.add)
        self._openings = Openings(
            self._folder.files,
            self._open,
            is_wanted=lambda key: self.has(key) and not self._closed,
            on_wrong=self._remove,
        )
        self._index_reader = ThreadPoolExecutor(1, "edgecache-index")
        self._room = Room(
            limit, slice_size, self._writer, self._open, self._lingering, linger=linger > 0
        )
        self._spare = SpareRows(self._folder, self._writer, self._tasks, lambda: self._ledger)
        self._upkeep = Upkeep(
            self._folder,
            self._writer,
            self._tasks,
            uses=self._uses,
            age=lambda: self._ledger.age,
            on_look=self._on_look,
        )

    def _is_slice(self, name: str) -> bool:
        key = self._folder.files.key(name)
        return key is not None and key in self._ledger

    def _new_ledger(self) -> Ledger:
        return Ledger(make_policy(self._policy), spare=min(SPARE_METAS, self._limit // 2**16))

    async def start(self) -> None:
        try:
            await self._attach()
        except FolderInUse:
            await self.close()
            raise
        except StoreError:
            pass  # `trouble` says so, and the writer goes on trying
        self._upkeep.start(looks=self._min_free > 0)
        self._writer.watch()

    async def _attach(self) -> None:
        """Know what the folder holds, which replaces all that was known."""
        self._attached = False
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._index_reader, self._folder.index.close_reader)
        ledger = self._new_ledger()  # the thread fills it: a million slices take seconds
        contents = await self._writer.change(self._folder.attach, ledger.load)
        self._ledger = ledger
        self._open.clear()
        return_freed_memory()
        self.marks.load(contents.last_mark, contents.marks)
        if self._folder.losses > self._losses:
            self._losses = self._folder.losses
            self._on_lost()
        self._lingering.add(0)  # others may hold open what went with the folder
        for _ in range(contents.refused):
            self._on_removal(Removal.CORRUPT, 0)
        if contents.slices or contents.places:
            self._lingering.add(self._room.slack)  # what the last process may just have removed
        self._attached = True
        # Those that have a file will be found.
        self._writer.sweep(dict.fromkeys(contents.others, 0))
        if self._min_free:
            await self._upkeep.look()
        if self._room.budget() + self._room.pressure < self._slice_size:
            log.warning("cache.size leaves no room for slices bytes=%d", self._limit)
        self._writer.look(contents.places)
        self._spare.learn()
        await self._writer.looked(LOOKING)
        self._give_way()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._open.clear()
        await self._tasks.close()
        await self._upkeep.end()
        await self._openings.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._index_reader, self._folder.index.close_reader)
        await self._writer.close()
        self._index_reader.shutdown(wait=False)

    def has(self, key: SliceKey) -> bool:
        return key in self._ledger and key not in self._writing

    def opened(self, key: SliceKey) -> DiskSlice | None:
        if (found := self._open.get(key)) is not None:
            self._ledger.access(key, self._clock())
        return found

    def used(self, key: SliceKey, count: int) -> None:
        self._ledger.access(key, self._clock(), count)

    def popularity(self, key: SliceKey) -> Popularity | None:
        return self._ledger.popularity(key)

    def _uses(self) -> Iterator[Use]:
        """What changed since this was asked last, as it is when it is come to."""
        for key, count, priority in self._ledger.changed():
            yield count, priority, self._folder.files.name(key)

    def _on_look(self, free: int, footprint: int) -> None:
        before = self._room.pressure
        self._room.look(self._ledger.size, free - self._min_free, footprint)
        if not before and self._room.pressure:
            log.warning("cache.min_free, not cache.size, bounds the cache now free=%d", free)
        elif before and not self._room.pressure:
            log.info("cache.size bounds the cache again free=%d", free)
        self._give_way()

    def _give_way(self) -> None:
        """Evict what is beyond the bounds, a little at a time: what is a lot takes seconds."""
        if self._room.excess(self._ledger.size) > 0 and not self._evicting:
            self._evicting = True
            self._tasks.spawn(self._evict(), name="store-evict")

    async def _evict(self) -> None:
        try:
            while (excess := self._room.excess(self._ledger.size)) > 0:
                gone = self._ledger.shrink(self._ledger.size - excess, most=STEP)
                self._writer.sweep(self._settle(gone))
                await asyncio.sleep(0)
        finally:
            self._evicting = False

    async def open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice | None:
        if (found := self.opened(key)) is not None:
            return found
        if self._closed or not self.has(key):
            return None
        if (found := await self._openings.open(key, meta)) is not None:
            self._ledger.access(key, self._clock())
        return found

    def _remove(self, key: SliceKey, wrong: WrongSlice) -> None:
        if self.has(key) and not self._closed:
            self._wrong.note(wrong)
            self._writer.sweep(self._settle(self._ledger.remove(key, wrong.reason)))

    async def put(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        if not self._usable or not self._fits(key, meta, data):
            return False
        if (writing := self._writing.get(key)) is None:
            if key in self._ledger:
                return True
            if (gone := self._make_room(key, meta, data)) is None:
                return False
            cost = slice_cost(self._folder.files.length(meta, data))
            self._room.leaving += sum(gone.values())
            self._room.entering += cost
            writing = self._writer.change(self._folder.write, gone, key, meta, data)
            self._writing[key] = writing
            writing.add_done_callback(partial(self._end_writing, key, cost, gone))
        await asyncio.wait([writing])
        return self.has(key)

    def _fits(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        length = min(self._slice_size, meta.length - key.number * self._slice_size)
        return key.version == meta.version and len(data) == length > 0

    def _admits(self, key: SliceKey, meta: ObjectMeta, size: int, budget: int) -> bool:
        """Whether the slice is worth its room; False: it passes by."""
        if self.admission.is_too_large(meta):
            return False
        is_full = self.admission.half and self._ledger.size + size > budget
        if is_full and self._ledger.has_half(key.version, self._slice_size, budget):
            return False
        return not self.admission.wear or self._ledger.admits(key, size)

    def _make_room(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> dict[str, int] | None:
        """Enter the slice; the files that must go before it is written. None: there is no room."""
        size = slice_cost(self._folder.files.length(meta, data))
        budget = self._room.budget()
        if not self._admits(key, meta, size, budget):
            return None
        gone = self._writer.take()
        budget = self._room.budget()
        # While much has to be swept, what is good does not go for what goes anyway; and while much
        # has to be evicted, that goes on by itself.
        full = self._writer.unswept and self._ledger.size + size > budget
        full = full or self._ledger.count(self._room.excess(self._ledger.size)) > STEP
        full = full or self._writer.is_looking  # what is not known yet may take any room
        leaving = size + sum(gone.values())
        if full or size > budget or self._room.is_crowded(self._ledger.size, leaving):
            self._writer.sweep(gone)
            return None
        now, pinned = self._clock(), self.admission.is_pinned(meta.key)
        gone |= self._settle(self._ledger.add(key, size, budget, now, pinned=pinned))
        for _ in range(ROUNDS):
            if self._ledger.size <= (budget := self._room.budget()):
                return gone
            if size > budget:
                break
            gone |= self._settle(self._ledger.shrink(budget))
        # Most of what went is still being read, so it takes its room all the same.
        self._ledger.remove(key, Removal.EVICTED)
        self._writer.sweep(gone)
        return None

    def _end_writing(
        self, key: SliceKey, cost: int, gone: dict[str, int], writing: asyncio.Future[None]
    ) -> None:
        del self._writing[key]
        left = sum(gone.values())
        self._room.leaving -= left
        self._room.entering -= cost
        if writing.exception() is None:
            self._lingering.add(left)
            self._writer.end_trouble()
        else:
            self._ledger.remove(key, Removal.CORRUPT)
            self._writer.sweep(gone | {self._folder.files.name(key): 0})

    def _settle(self, gone: list[Gone]) -> dict[str, int]:
        """The files of what is out of the ledger, after everybody else was told."""
        files = {}
        for key, size, reason in gone:
            self._on_removal(reason, size)
            read = self._open.drop(key, size)
            files[self._folder.files.name(key)] = 0 if read else size
        self._spare.forget()
        return files

    def supersede(self, version: str, slices: range) -> None:
        self._ledger.supersede(version, slices)

    def discard(self, version: str, slices: range) -> None:
        if not self._ledger.has_version(version):
            return
        gone = [
            one
            for number in slices
            for one in self._ledger.remove(SliceKey(version, number), Removal.PURGED)
        ]
        self._writer.sweep(self._settle(gone))

    async def forget(self) -> bool:
        if not self._usable:
            return False
        return await self._done(self._writer.change(self._folder.forget_all))

    async def save_meta(self, meta: ObjectMeta) -> bool:
        if not self._usable:
            return False
        self._give_way()
        if self._room.budget() < 0 or self._room.is_crowded(self._ledger.size, 0):
            return False
        self._ledger.meta_saved(meta.version)
        self._spare.forget()
        saving = self._writer.change(self._folder.save_meta, meta)
        await asyncio.wait([saving])
        return saving.exception() is None and saving.result()

    def trouble(self) -> str:
        if trouble := self._writer.trouble or self._wrong.trouble:
            return trouble
        if not self._room.pressure or self._room.budget() >= self._slice_size:
            return ""
        return "the disk is full: cache.min_free leaves no room for slices"

    @property
    def size(self) -> int:
        return self._room.used(self._ledger.size)

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def room(self) -> int:
        return self._room.budget() - self._ledger.size - self._room.held

    @property
    def pressure(self) -> int:
        return self._room.pressure

    @property
    def slices(self) -> int:
        return len(self._ledger)


def most_open() -> int:
    """Slices to keep open: most descriptors are for connections."""
    return min(OPEN_SLICES, most_slices())
