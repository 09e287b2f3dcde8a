"""Least recently used: what most caches do, to compare with. Rule: nothing but the order of use."""

from collections import OrderedDict
from collections.abc import Container, Iterable

from edgecache.core.model import SliceKey
from edgecache.core.policy import GOES_FIRST, WORN, Loaded, Popularity, Taken, key_of


class LruPolicy:
    """In order of use; counts are kept for those who ask, and decide nothing."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._size = 0
        # Each oldest first; in the order in which they are evicted.
        self._demoted: OrderedDict[SliceKey, int] = OrderedDict()
        self._recent: OrderedDict[SliceKey, int] = OrderedDict()
        self._pinned: OrderedDict[SliceKey, int] = OrderedDict()
        self._used: dict[SliceKey, Popularity] = {}  # last use as priority
        self._changed: set[SliceKey] = set()
        self._refused: OrderedDict[SliceKey, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<LruPolicy: {len(self)} slices, {self._size} of {self._limit} bytes>"

    def add(
        self, key: SliceKey, size: int, now: float, *, pinned: bool = False
    ) -> dict[SliceKey, int]:
        if size > self._limit:
            raise ValueError(f"{size} bytes do not fit into {self._limit}")
        self.remove(key)
        victims = self._evict(self._limit - size)
        (self._pinned if pinned else self._recent)[key] = size
        self._size += size
        self._use(key, now)
        return victims

    def _use(self, key: SliceKey, now: float, count: int = 1) -> None:
        before = self._used.get(key)
        self._used[key] = Popularity(count + (before.count if before else 0), now)
        self._changed.add(key)

    def access(self, key: SliceKey, now: float, count: int = 1) -> None:
        for order in (self._recent, self._pinned):
            if key in order:
                order.move_to_end(key)
                self._use(key, now, count)

    def admits(self, key: SliceKey, size: int) -> bool:
        if size < WORN:
            return True
        if key in self._refused:
            del self._refused[key]
            return True
        self._refused[key] = None
        if len(self._refused) > max(1000, len(self)):
            self._refused.popitem(last=False)
        return False

    def load(
        self, slices: Iterable[Loaded], age: float = 0.0, pinned: Container[str] = ()
    ) -> Taken:
        for order in (self._demoted, self._recent, self._pinned):
            order.clear()
        self._used.clear()
        self._changed.clear()
        taken = Taken({}, set())
        self._size = 0
        for name, size, count, priority in sorted(slices, key=last_use):
            key = key_of(name)
            if priority == GOES_FIRST:
                self._demoted[key] = size
                taken.demoted.add(key.version)
            else:
                (self._pinned if key.version in pinned else self._recent)[key] = size
            self._used[key] = Popularity(count, priority)
            self._size += size
            if key.number:
                taken.later[key.version] = taken.later.get(key.version, 0) + 1
        return taken

    def shrink(self, limit: int) -> dict[SliceKey, int]:
        self._limit = max(limit, 0)
        return self._evict(self._limit)

    def _evict(self, room: int) -> dict[SliceKey, int]:
        victims = {}
        while self._size > room:
            key, size = (self._demoted or self._recent or self._pinned).popitem(last=False)
            self._forget(key, size)
            victims[key] = size
        return victims

    def _forget(self, key: SliceKey, size: int) -> None:
        self._size -= size
        del self._used[key]
        self._changed.discard(key)

    def demote(self, key: SliceKey) -> None:
        for order in (self._recent, self._pinned):
            if (size := order.pop(key, None)) is not None:
                self._demoted[key] = size
                self._used[key] = self._used[key]._replace(priority=GOES_FIRST)
                self._changed.add(key)

    def remove(self, key: SliceKey) -> int:
        for order in (self._recent, self._pinned, self._demoted):
            if (size := order.pop(key, None)) is not None:
                self._forget(key, size)
                return size
        return 0

    def popularity(self, key: SliceKey) -> Popularity | None:
        return self._used.get(key)

    def changed(self) -> list[tuple[SliceKey, int, float]]:
        changed, self._changed = self._changed, set()
        return [(key, *self._used[key]) for key in changed]

    @property
    def age(self) -> float:
        return 0.0  # priorities are times

    def __contains__(self, key: SliceKey) -> bool:
        return key in self._used

    def __len__(self) -> int:
        return len(self._used)

    @property
    def size(self) -> int:
        return self._size


def last_use(one: Loaded) -> float:
    _, _, count, priority = one
    return priority if count else 0.0
