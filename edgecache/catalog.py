"""What is known of objects: the index in memory over the rows in the store.

Rule of this module: a row that could not be written or removed is not believed, and is seen to once
the disk can be told (`tell_rows`).
"""

from collections.abc import Callable
from dataclasses import replace

from edgecache.core.accounts import Purge, PurgeLog
from edgecache.core.errors import StoreError, Unavailable
from edgecache.core.index import (
    Index,
    Known,
    Missing,
    Route,
    StoredResponse,
    Uncacheable,
    stored_response,
)
from edgecache.core.marks import Kind, Mark, Purges, Target
from edgecache.core.model import ByteSpan, NotStored, ObjectKey, ObjectMeta, SliceKey
from edgecache.core.ranges import slice_span, slices_of
from edgecache.core.settling import Changes
from edgecache.core.tags import distinct
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.metrics import Metrics
from edgecache.store import SliceStore
from edgecache.tasks import Tasks
from edgecache.untold import Untold


class Catalog:
    def __init__(
        self,
        store: SliceStore,
        tasks: Tasks,
        metrics: Metrics,
        fills: FillTable,
        *,
        generations: Generations,
        clock: Callable[[], float],
        slice_size: int,
    ) -> None:
        self.clock = clock
        self._generations = generations
        self._index = Index()
        self._store = store
        self._tasks = tasks
        self._metrics = metrics
        self._slice_size = slice_size
        self._fills = fills
        self.purges = Purges()
        self.hard_purges = Purges()  # those of them that took bytes
        self.purge_log = PurgeLog()
        self.changes = Changes()
        # Marks that the disk does not know: it is not to be believed.
        self._unsaved: set[int] = set()
        self._leaving: set[ObjectKey] = set()  # their rows are being removed
        self._clearing = 0  # all rows are
        self._untold = Untold()

    async def get(self, key: ObjectKey, route: Route) -> Known | None:
        known = self._index.get(key, self.clock())
        if known is not None or self._is_leaving(key):
            return known
        purges = self.purges.count
        meta = await self._store.load_meta(key)
        # Known by now: an answer of the origin came while the row was read. Leaving: so is the row.
        known = self._index.get(key, self.clock())
        if known is not None or meta is None or self._is_leaving(key):
            return known
        if self.purges.concern(key, purges, meta.tags):
            return None
        if (meta := self._store.marks.judged(meta)) is None:
            return None
        stored = stored_response(meta, route)
        self._index.put(key, stored)
        return stored

    def _is_leaving(self, key: ObjectKey) -> bool:
        return self._clearing > 0 or key in self._leaving or key in self._untold

    def hit(self, key: ObjectKey) -> StoredResponse | None:
        """The fresh stored response if memory has it: the hot path's question."""
        now = self.clock()
        known = self._index.get(key, now)
        return known if isinstance(known, StoredResponse) and known.is_fresh(now) else None

    def version_of(self, meta: ObjectMeta) -> str:
        """Under which version the bytes are stored that the origin means; "": under none."""
        known = self._index.get(meta.key, self.clock())
        if isinstance(known, StoredResponse) and meta.names_same(known.meta):
            return known.version
        return ""

    def put(
        self, meta: ObjectMeta, route: Route, stale: StoredResponse | None = None
    ) -> StoredResponse:
        """What the origin just said of an object, of which that was known when it was asked; an
        older version of it is superseded."""
        known = self._index.get(meta.key, self.clock())
        if not isinstance(known, StoredResponse):
            known = stale
        last = self._store.marks.last
        era = known.meta.era if known is not None and meta.names_same(known.meta) else last
        tags = distinct((*meta.tags, *route.tags))
        stored = stored_response(replace(meta, tags=tags, epoch=last, era=era), route)
        if known is not None and known.version != stored.version:
            self._supersede(known, "revalidate")
        self._index.put(meta.key, stored)
        settle = self._generations.begin(meta.key)
        self._tasks.spawn(self._save_meta(stored.meta, settle), name="save-meta")
        return stored

    async def _save_meta(self, meta: ObjectMeta, settle: Callable[[], None]) -> None:
        if await self._store.save_meta(meta):
            self._untold.told(meta.key, settle)
        else:
            self._not_told(meta.key, settle)

    def _not_told(self, key: ObjectKey, settle: Callable[[], None]) -> None:
        if not self._untold.add(key, settle):
            self._give_up()

    def _give_up(self) -> None:
        """No row is believed until all are gone."""
        self._untold.give_up()
        self._generations.hold()

    async def tell_rows(self) -> None:
        """Tell the disk what it could not be told, as far as it can be by now."""
        if not self._untold or self._store.trouble():
            return
        if self._untold.everything:
            await self._forget_rows()
        for key, settle in self._untold.all():
            known = self._index.get(key, self.clock())
            saved = isinstance(known, StoredResponse) and await self._store.save_meta(known.meta)
            if not saved and not await self._store.remove_meta(key):
                return
            self._untold.told(key, settle)

    async def _forget_rows(self) -> None:
        self._untold.everything = False
        self._generations.release()
        self._clearing += 1
        try:
            forgotten = await self._store.forget()
        finally:
            self._clearing -= 1
        if forgotten:
            self._renew()
        else:
            self._give_up()

    def missing(self, key: ObjectKey, lifetime: float, was: StoredResponse | None = None) -> None:
        """`was`: what was known when the origin was asked."""
        self._drop(key, was)
        if lifetime > 0:
            self._index.put(key, Missing(self.clock() + lifetime))

    def uncacheable(
        self,
        key: ObjectKey,
        lifetime: float,
        why: NotStored | None = None,
        was: StoredResponse | None = None,
    ) -> None:
        """`was`: as of `missing`."""
        self._drop(key, was)
        self._index.put(key, Uncacheable(self.clock() + lifetime, why))

    def is_purged(self, stored: StoredResponse, purges: int) -> bool:
        """Whether its bytes went by a purge since there had been so many of those."""
        return self.hard_purges.concern(stored.meta.key, purges, stored.meta.tags)

    def replaced(self, stored: StoredResponse, purges: int) -> None:
        """The origin no longer has this version: the next request asks it anew. A purge since has
        seen to that, and whatever changed did so before it."""
        if self.is_purged(stored, purges):
            return
        self.changes.note(stored.meta.key, self.clock())
        known = self._index.get(stored.meta.key, self.clock())
        if known is None or (isinstance(known, StoredResponse) and known.version == stored.version):
            self._drop(stored.meta.key, stored)

    def forget(self) -> None:
        """What rests on settings that are no more; the rows stay."""
        self._index.clear()

    def _note(self, target: Target, *, soft: bool) -> None:
        self.purges.add(target)
        if not soft:
            self.hard_purges.add(target)
        self.purge_log.add(Purge(target, soft, self.clock()))

    async def purge(self, key: ObjectKey, *, soft: bool = False) -> bool:
        """When it returns nobody answers with what was known of `key`; whether anything was.

        :raises StoreError: its row can't be removed, so a restart would bring it back.
        """
        self._note(Target(Kind.KEY, key.key, key.origin), soft=soft)
        self._store.marks.count()
        settle = self._generations.begin(key)
        known = self._index.get(key, self.clock())
        self._index.forget(key)
        self._leaving.add(key)
        try:
            if isinstance(known, StoredResponse):
                meta: ObjectMeta | None = known.meta
            else:
                row = await self._store.load_meta(key)
                meta = row and self._store.marks.judged(row)
                if row is not None and meta is None:
                    self.discard(row)
            if meta is not None and not soft:
                self.discard(meta)
            counted = await self._store.save_count()
            stale = replace(meta, stale=True) if meta and soft else None
            if not (await self._replace(key, stale) and counted):
                self._not_told(key, settle)
                raise StoreError("the index cannot be written")
            self._untold.told(key, settle)
        finally:
            self._leaving.discard(key)
        return meta is not None

    async def _replace(self, key: ObjectKey, meta: ObjectMeta | None) -> bool:
        """The row of `key` by that one, or by none."""
        if meta is not None and await self._store.save_meta(meta):
            return True
        return await self._store.remove_meta(key)

    async def mark(self, target: Target, *, soft: bool) -> Mark:
        """As `purge`, for all that `target` means; what is marked is cleared up behind.

        :raises Unavailable: nothing was done; StoreError: a restart would bring it back.
        """
        if self._store.marks.full:
            raise Unavailable("too many purges are being carried out: try again in a while")
        self._note(target, soft=soft)
        mark = self._store.marks.add(target, soft=soft)
        self._unsaved.add(mark.number)
        self._generations.begin_all()
        self._index.forget_if(lambda key, known: is_meant(target, key, known))
        if not soft:
            self._fills.disown_if(lambda meta: target.matches(meta.key, meta.tags))
        await self.tell(mark)
        return mark

    async def tell(self, mark: Mark) -> None:
        """The disk, and by it the other processes.

        :raises StoreError: it can't be told.
        """
        if mark.number in self._unsaved:
            if not await self._store.save_mark(mark):
                raise StoreError("the index cannot be written")
            self._unsaved.discard(mark.number)
            self._renew()

    def _renew(self) -> None:
        if not (self._unsaved or self._untold.everything or self._clearing):
            self._generations.renew()

    def stored_bytes(self, meta: ObjectMeta) -> int:
        """What of the object is stored."""
        size = self._slice_size
        numbers = slices_of(ByteSpan(0, meta.length), size)
        return sum(
            len(slice_span(number, size, meta.length))
            for number in numbers
            if self._store.has(SliceKey(meta.version, number))
        )

    def discard(self, meta: ObjectMeta) -> None:
        """The bytes of it."""
        self._fills.disown(meta.version)
        span = ByteSpan(0, meta.length)
        self._store.discard(meta.version, slices_of(span, self._slice_size))

    def _drop(self, key: ObjectKey, was: StoredResponse | None) -> None:
        """Also where memory has forgotten it: there may be a row of it still."""
        known = self._index.get(key, self.clock()) or was
        if isinstance(known, StoredResponse):
            self._supersede(known, "slice")
            self._leaving.add(key)
            settle = self._generations.begin(key)
            self._tasks.spawn(self._remove_meta(key, settle), name="remove-meta")
        self._index.forget(key)

    async def _remove_meta(self, key: ObjectKey, settle: Callable[[], None]) -> None:
        try:
            if await self._store.remove_meta(key):
                self._untold.told(key, settle)
            else:
                self._not_told(key, settle)
        finally:
            self._leaving.discard(key)

    def _supersede(self, stored: StoredResponse, where: str) -> None:
        self._metrics.version_changes.labels(where).inc()
        span = ByteSpan(0, stored.meta.length)
        self._store.supersede(stored.version, slices_of(span, self._slice_size))


def is_meant(target: Target, key: ObjectKey, known: Known) -> bool:
    """What is not there might have had the tag, too."""
    if isinstance(known, StoredResponse):
        return target.matches(key, known.meta.tags)
    return target.may_match(key)
