"""What is known of objects: the index in memory over the rows in the store."""

from collections.abc import Callable

from edgecache.core.errors import StoreError
from edgecache.core.index import (
    Index,
    Known,
    Missing,
    Route,
    StoredResponse,
    Uncacheable,
    stored_response,
)
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta
from edgecache.core.ranges import slices_of
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.metrics import Metrics
from edgecache.store import SliceStore
from edgecache.tasks import Tasks


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
        self.purges = 0
        self._leaving: set[ObjectKey] = set()  # their rows are being removed
        self._clearing = 0  # all rows are

    async def get(self, key: ObjectKey, route: Route) -> Known | None:
        known = self._index.get(key, self.clock())
        if known is not None or self._is_leaving(key):
            return known
        purges = self.purges
        meta = await self._store.load_meta(key)
        # Known by now: an answer of the origin came while the row was read. Leaving: so is the row.
        known = self._index.get(key, self.clock())
        if known is not None or meta is None or self._is_leaving(key) or purges != self.purges:
            return known
        stored = stored_response(meta, route)
        self._index.put(key, stored)
        return stored

    def _is_leaving(self, key: ObjectKey) -> bool:
        return self._clearing > 0 or key in self._leaving

    def hit(self, key: ObjectKey) -> StoredResponse | None:
        """The fresh stored response if memory has it: the hot path's question."""
        now = self.clock()
        known = self._index.get(key, now)
        return known if isinstance(known, StoredResponse) and known.is_fresh(now) else None

    def put(self, meta: ObjectMeta, route: Route) -> StoredResponse:
        """What the origin just said of an object; an older version of it is superseded."""
        stored = stored_response(meta, route)
        known = self._index.get(meta.key, self.clock())
        if isinstance(known, StoredResponse) and known.version != stored.version:
            self._supersede(known, "revalidate")
        self._index.put(meta.key, stored)
        settle = self._generations.begin(meta.key)
        self._tasks.spawn(self._save_meta(meta, settle), name="save-meta")
        return stored

    async def _save_meta(self, meta: ObjectMeta, settle: Callable[[], None]) -> None:
        if await self._store.save_meta(meta):
            settle()

    def missing(self, key: ObjectKey, lifetime: float) -> None:
        self._drop(key)
        if lifetime > 0:
            self._index.put(key, Missing(self.clock() + lifetime))

    def uncacheable(self, key: ObjectKey, lifetime: float) -> None:
        self._drop(key)
        self._index.put(key, Uncacheable(self.clock() + lifetime))

    def replaced(self, stored: StoredResponse) -> None:
        """The origin no longer has this version: the next request asks it anew."""
        known = self._index.get(stored.meta.key, self.clock())
        if isinstance(known, StoredResponse) and known.version == stored.version:
            self._drop(stored.meta.key)

    def forget(self) -> None:
        """What rests on settings that are no more; the rows stay."""
        self._index.clear()

    async def purge(self, key: ObjectKey) -> bool:
        """When it returns nobody answers with what was known of `key`; whether anything was.

        :raises StoreError: its row can't be removed, so a restart would bring it back.
        """
        self.purges += 1
        settle = self._generations.begin(key)
        known = self._index.get(key, self.clock())
        self._index.forget(key)
        self._leaving.add(key)
        try:
            if isinstance(known, StoredResponse):
                meta: ObjectMeta | None = known.meta
            else:
                meta = await self._store.load_meta(key)
            if meta is not None:
                self._discard(meta)
            if not await self._store.remove_meta(key):
                raise StoreError("the index cannot be written")
            settle()
        finally:
            self._leaving.discard(key)
        return meta is not None

    async def purge_all(self) -> None:
        """:raises StoreError: rows are left."""
        self.purges += 1
        self._generations.begin_all()
        self._index.clear()
        self._fills.disown()
        self._clearing += 1
        try:
            if not await self._store.clear():
                raise StoreError("the index cannot be written")
        finally:
            self._clearing -= 1
        self._generations.renew()

    def _discard(self, meta: ObjectMeta) -> None:
        self._fills.disown(meta.version)
        span = ByteSpan(0, meta.length)
        self._store.discard(meta.version, slices_of(span, self._slice_size))

    def _drop(self, key: ObjectKey) -> None:
        known = self._index.get(key, self.clock())
        if isinstance(known, StoredResponse):
            self._supersede(known, "slice")
            self._leaving.add(key)
            settle = self._generations.begin(key)
            self._tasks.spawn(self._remove_meta(key, settle), name="remove-meta")
        self._index.forget(key)

    async def _remove_meta(self, key: ObjectKey, settle: Callable[[], None]) -> None:
        try:
            if await self._store.remove_meta(key):
                settle()
        finally:
            self._leaving.discard(key)

    def _supersede(self, stored: StoredResponse, where: str) -> None:
        self._metrics.version_changes.labels(where).inc()
        span = ByteSpan(0, stored.meta.length)
        self._store.supersede(stored.version, slices_of(span, self._slice_size))
