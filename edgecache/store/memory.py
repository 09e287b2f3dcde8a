"""The store's twin without a disk, for tests. Rule: every claim of `SliceStore` holds here too.

Its switches make it misbehave as a disk does: `failing` refuses every write, `cold` answers
nothing from memory so that every read takes the long way.
"""

from collections.abc import Callable

from edgecache.core.model import ObjectKey, ObjectMeta, Removal, SliceKey
from edgecache.core.policy import LruPolicy
from edgecache.store import Bytes


class MemorySlice:
    def __init__(self, data: bytes, store: "MemoryStore") -> None:
        self._data = data
        self._store = store
        self.length = len(data)

    def read_nowait(self, start: int, stop: int) -> Bytes | None:
        return None if self._store.cold else self._data[start:stop]

    async def read(self, start: int, stop: int) -> Bytes:
        return self._data[start:stop]


class MemoryStore:
    def __init__(
        self, *, limit: int = 2**30, on_removal: Callable[[Removal, int], None] = lambda *_: None
    ) -> None:
        self.limit = limit
        self.failing = False
        self.cold = False
        self._on_removal = on_removal
        self._policy = LruPolicy(limit)
        self._data: dict[SliceKey, bytes] = {}
        self._verified: set[SliceKey] = set()
        self._metas: dict[ObjectKey, ObjectMeta] = {}
        self._superseded: set[str] = set()
        self._closed = False

    async def start(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True

    def has(self, key: SliceKey) -> bool:
        return key in self._data

    def opened(self, key: SliceKey) -> MemorySlice | None:
        if key not in self._verified:
            return None
        self._policy.access(key)
        return MemorySlice(self._data[key], self)

    def used(self, key: SliceKey, count: int) -> None:
        self._policy.access(key)

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
        try:
            victims = self._policy.add(key, len(data))
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
        self._metas.pop(key, None)
        return True

    def supersede(self, version: str, slices: range) -> None:
        self._superseded.add(version)
        for number in slices:
            self._policy.demote(SliceKey(version, number))

    def discard(self, version: str, slices: range) -> None:
        for key in [SliceKey(version, number) for number in slices]:
            if key in self._data:
                self._remove(key, Removal.PURGED, self._policy.remove(key))

    async def clear(self) -> bool:
        self._metas.clear()
        for key in list(self._data):
            self._remove(key, Removal.PURGED, self._policy.remove(key))
        return True

    def trouble(self) -> str:
        return "No space left on device" if self.failing else ""

    @property
    def size(self) -> int:
        return self._policy.size

    @property
    def slices(self) -> int:
        return len(self._data)
