"""What a worker knows of objects: rows that the keeper wrote, remembered while they hold.

Rule of this module: fresh and settled, or not known at all; the keeper sees to everything else.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from edgecache.core.index import OBJECTS, Route, StoredResponse, stored_response
from edgecache.core.model import ObjectKey
from edgecache.generations import Generations
from edgecache.store.reader import ReadStore


class Known(NamedTuple):
    stored: StoredResponse
    slot: int
    generation: int


class Shelf:
    def __init__(
        self,
        store: ReadStore,
        generations: Generations,
        *,
        clock: Callable[[], float],
        limit: int = OBJECTS,
    ) -> None:
        self.clock = clock
        self._store = store
        self._generations = generations
        self._limit = limit
        self._known: OrderedDict[ObjectKey, Known] = OrderedDict()

    def hit(self, key: ObjectKey) -> StoredResponse | None:
        """The stored response if it is in memory and fresh."""
        known = self._known.get(key)
        if known is None:
            return None
        if self._generations.cells[known.slot] != known.generation:
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return known.stored if known.stored.is_fresh(self.clock()) else None

    async def find(self, key: ObjectKey, route: Route) -> StoredResponse | None:
        """The stored response if it is fresh."""
        if (found := self.hit(key)) is not None:
            return found
        slot = self._generations.slot(key)
        generation = self._generations.cells[slot]
        if generation % 2 or key in self._known:  # not on disk yet, or stale
            return None
        meta = await self._store.load_meta(key)
        if meta is None or self._generations.cells[slot] != generation:
            return None
        self._known[key] = Known(stored_response(meta, route), slot, generation)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return self.hit(key)
