"""The store's twin without a disk, for tests. Rule: every claim of `SliceStore` holds here too.

Its switches make it misbehave as a disk does: `failing` refuses every write, `cold` answers
nothing from memory so that every read takes the long way.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgecache.core.admission import Admission
from edgecache.core.marks import Mark, Marks
from edgecache.core.model import ObjectKey, ObjectMeta, Removal, SliceKey
from edgecache.core.policies import make_policy
from edgecache.core.policy import Popularity
from edgecache.store import Bytes, Step


class MemorySlice:
    def __init__(self, data: bytes, store: "MemoryStore") -> None:
        self._data = data
        self._store = store
        self.length = len(data)

    def read_nowait(self, start: int, stop: int, _into: memoryview | None = None) -> Bytes | None:
        return None if self._store.cold else self._data[start:stop]

    async def read(self, start: int, stop: int) -> Bytes:
        return self._data[start:stop]


class MemoryStore:
    def __init__(
        self, *, limit: int = 2**30, on_removal: Callable[[Removal, int], None] = lambda *_: None
    ) -> None:
        self.limit = limit
        self.marks = Marks()
        self.failing = False
        self.cold = False
        self._on_removal = on_removal
        self.admission = Admission()
        self.pressure = 0
        self._policy = make_policy("lru", limit)
        self._data: dict[SliceKey, bytes] = {}
        self._verified: set[SliceKey] = set()
        self._metas: dict[ObjectKey, ObjectMeta] = {}
        self._superseded: set[str] = set()
        self._closed = False
        self._now = 0  # what is used later is so by this clock too

    async def start(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True

    def has(self, key: SliceKey) -> bool:
        return key in self._data

    def opened(self, key: SliceKey) -> MemorySlice | None:
        if key not in self._verified:
            return None
        self.used(key, 1)
        return MemorySlice(self._data[key], self)

    def used(self, key: SliceKey, count: int) -> None:
        self._now += 1
        self._policy.access(key, self._now, count)

    def popularity(self, key: SliceKey) -> Popularity | None:
        return self._policy.popularity(key)

    async def open(self, key: SliceKey, meta: ObjectMeta) -> MemorySlice | None:
        if key not in self._data:
            return None
        if key.version != meta.version:
            self._remove(key, Removal.CORRUPT, self._policy.remove(key))
            return None
        self._verified.add(key)
        return self.opened(key)

    async def put(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        if self._closed or self.failing or key.version != meta.version:
            return False
        if key in self._data:
            return True
        if self.admission.is_too_large(meta):
            return False
        if self.admission.wear and not self._policy.admits(key, len(data)):
            return False
        self._now += 1
        pinned = self.admission.is_pinned(meta.key)
        try:
            victims = self._policy.add(key, len(data), self._now, pinned=pinned)
        except ValueError:
            return False
        for victim, size in victims.items():
            superseded = victim.version in self._superseded
            reason = Removal.SUPERSEDED if superseded else Removal.EVICTED
            self._remove(victim, reason, size)
        self._data[key] = bytes(data)
        return True

    def _remove(self, key: SliceKey, reason: Removal, size: int) -> None:
        del self._data[key]
        self._verified.discard(key)
        self._on_removal(reason, size)

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        return self._metas.get(key)

    async def save_meta(self, meta: ObjectMeta) -> bool:
        if self._closed or self.failing:
            return False
        self._metas[meta.key] = meta
        return True

    async def remove_meta(self, key: ObjectKey) -> bool:
        if self.failing:
            return False
        self._metas.pop(key, None)
        return True

    async def save_mark(self, mark: Mark) -> bool:
        return not (self._closed or self.failing)

    async def save_count(self) -> bool:
        return not (self._closed or self.failing)

    async def remove_mark(self, mark: Mark) -> bool:
        return not (self._closed or self.failing)

    async def step(self, mark: Mark, after: str) -> Step | None:
        return Step([meta for meta in self._metas.values() if mark.concerns(meta)], None)

    async def settle(self, mark: Mark, keys: Sequence[ObjectKey]) -> int | None:
        if self._closed or self.failing:
            return None
        settled = [meta for key in keys if (meta := self._metas.get(key)) and mark.concerns(meta)]
        for meta in settled:
            if mark.soft:
                self._metas[meta.key] = replace(meta, stale=True)
            else:
                del self._metas[meta.key]
        return len(settled)

    def supersede(self, version: str, slices: range) -> None:
        self._superseded.add(version)
        for number in slices:
            self._policy.demote(SliceKey(version, number))

    def discard(self, version: str, slices: range) -> None:
        for key in [SliceKey(version, number) for number in slices]:
            if key in self._data:
                self._remove(key, Removal.PURGED, self._policy.remove(key))

    async def forget(self) -> bool:
        if self.failing:
            return False
        self._metas.clear()
        return True

    def trouble(self) -> str:
        return "No space left on device" if self.failing else ""

    @property
    def size(self) -> int:
        return self._policy.size

    @property
    def room(self) -> int:
        return self.limit - self.size

    @property
    def slices(self) -> int:
        return len(self._data)
