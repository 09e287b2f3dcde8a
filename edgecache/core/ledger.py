"""What the store holds and what has to go. Rule of this module: decisions only; nothing of disks.

It puts on top of the policy what the policy need not know: how many slices each version has, which
versions were replaced at the origin, and which stored responses no longer have a slice.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from edgecache.core.model import Removal, SliceKey
from edgecache.core.policy import LruPolicy


class Gone(NamedTuple):
    """A slice that is out of the books and has to leave the disk."""

    key: SliceKey
    size: int
    reason: Removal


class Ledger:
    """The slices held, by a policy, and the versions they belong to.

    A stored response is worth keeping as long as its version has a slice, and is needed before
    the first one comes. So there are at most `spare` more of them than there are versions with
    slices; `emptied` gives the versions whose stored response is one too many.
    """

    def __init__(self, *, spare: int) -> None:
        self._policy = LruPolicy(0)
        self._slices_of: dict[str, int] = {}
        self._superseded: set[str] = set()
        self._spare = spare
        self._without_slices: OrderedDict[str, None] = OrderedDict()

    def add(self, key: SliceKey, size: int, budget: int) -> list[Gone]:
        """Take in `key`; what must be off the disk before it is on it.

        :raises ValueError: it does not fit into `budget` even alone.
        """
        if size > budget:
            raise ValueError(f"{size} bytes do not fit into {budget}")
        gone = self.shrink(budget)
        victims = self._policy.add(key, size)
        self._slices_of[key.version] = self._slices_of.get(key.version, 0) + 1
        self._without_slices.pop(key.version, None)
        return gone + self._evicted(victims)

    def load(self, slices: Sequence[tuple[SliceKey, int]], budget: int) -> list[Gone]:
        """Take in what is on the disk, oldest first, before anything else; what is too much."""
        self._policy.load(slices)
        self._slices_of = Counter(key.version for key, _ in slices)
        return self.shrink(budget)

    def shrink(self, budget: int) -> list[Gone]:
        """What must go for the slices to be within `budget` bytes."""
        return self._evicted(self._policy.shrink(budget))

    def remove(self, key: SliceKey, reason: Removal) -> list[Gone]:
        if key not in self._policy:
            return []
        size = self._policy.remove(key)
        self._count_out(key.version)
        return [Gone(key, size, reason)]

    def clear(self) -> list[Gone]:
        """All of it."""
        victims = self._policy.shrink(0)
        self._superseded.clear()
        for key in victims:
            self._count_out(key.version)
        return [Gone(key, size, Removal.PURGED) for key, size in victims.items()]

    def access(self, key: SliceKey) -> None:
        self._policy.access(key)

    def supersede(self, version: str, slices: range) -> None:
        """`version` was replaced: its slices go first, and are counted as superseded."""
        if version not in self._slices_of:
            return
        self._superseded.add(version)
        for number in slices:
            self._policy.demote(SliceKey(version, number))

    def meta_saved(self, version: str) -> None:
        if version not in self._slices_of:
            self._without_slices[version] = None
            self._without_slices.move_to_end(version)

    def emptied(self) -> list[str]:
        """Versions, longest without a slice first, whose stored response has to go. Asked once."""
        excess = len(self._without_slices) - self._spare
        return [self._without_slices.popitem(last=False)[0] for _ in range(excess)]

    def _evicted(self, victims: dict[SliceKey, int]) -> list[Gone]:
        gone = []
        for key, size in victims.items():
            superseded = key.version in self._superseded
            gone.append(Gone(key, size, Removal.SUPERSEDED if superseded else Removal.EVICTED))
            self._count_out(key.version)
        return gone

    def _count_out(self, version: str) -> None:
        self._slices_of[version] -= 1
        if not self._slices_of[version]:
            del self._slices_of[version]
            self._superseded.discard(version)
            self._without_slices[version] = None

    def __contains__(self, key: SliceKey) -> bool:
        return key in self._policy

    def __len__(self) -> int:
        return len(self._policy)

    @property
    def size(self) -> int:
        return self._policy.size
