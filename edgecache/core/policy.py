"""Which slices stay. Rule of this module: it decides and returns what must go; others do it.

Least recently used, one segment, byte bound. The seam is `add` returning victims with their sizes:
a victim is out of the books at once and must be off the disk before the new slice is on it.
"""

from collections import OrderedDict
from collections.abc import Iterable

from edgecache.core.model import SliceKey


class LruPolicy:
    """A byte-bounded set of slices in order of use. A demoted slice goes before all others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._recent: OrderedDict[SliceKey, int] = OrderedDict()  # oldest first
        self._demoted: OrderedDict[SliceKey, int] = OrderedDict()

    def add(self, key: SliceKey, size: int) -> dict[SliceKey, int]:
        """Take in `key`; the victims, in order, that must go first for the limit to hold.

        :raises ValueError: it alone is larger than the limit; nothing has changed then.
        """
        if size > self._limit:
            raise ValueError(f"{size} bytes do not fit into {self._limit}")
        self.remove(key)
        victims = self._evict(self._limit - size)
        self._recent[key] = size
        self._size += size
        return victims

    def load(self, slices: Iterable[tuple[SliceKey, int]]) -> None:
        """All there is, oldest first, also beyond the limit: `shrink` has the victims."""
        self._recent = OrderedDict(slices)
        self._demoted.clear()
        self._size = sum(self._recent.values())

    def shrink(self, limit: int) -> dict[SliceKey, int]:
        """Set the limit, higher or lower; the victims that a lower one asks for."""
        self._limit = max(limit, 0)
        return self._evict(self._limit)

    def access(self, key: SliceKey) -> None:
        if key in self._recent:
            self._recent.move_to_end(key)

    def demote(self, key: SliceKey) -> None:
        """From now on `key` is evicted before any slice that is not demoted, used or not."""
        if (size := self._recent.pop(key, None)) is not None:
            self._demoted[key] = size

    def remove(self, key: SliceKey) -> int:
        """Forget `key`; its size, 0 if it was unknown."""
        size = self._recent.pop(key, None)
        if size is None:
            size = self._demoted.pop(key, 0)
        self._size -= size
        return size

    def _evict(self, room: int) -> dict[SliceKey, int]:
        victims = {}
        while self._size > room:
            key, size = (self._demoted or self._recent).popitem(last=False)
            self._size -= size
            victims[key] = size
        return victims

    def __contains__(self, key: SliceKey) -> bool:
        return key in self._recent or key in self._demoted

    def __len__(self) -> int:
        return len(self._recent) + len(self._demoted)

    def __repr__(self) -> str:
        return f"<LruPolicy: {len(self)} slices, {self._size} of {self._limit} bytes>"

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size
