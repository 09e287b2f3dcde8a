"""What the store holds and what has to go. Rule of this module: decisions only; nothing of disks.

It puts on top of the policy what the policy need not know: how many slices each version has, which
versions were replaced at the origin, and which stored responses no longer have a slice.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable
from typing import NamedTuple

from edgecache.core.model import Removal, SliceKey
from edgecache.core.policy import Loaded, Policy, Popularity


def short(version: str) -> int:
    """What stands for it in memory, of a third of its size. Should two be one, a stored response
    stays a little longer than it is of use."""
    return int(version[-15:], 16)


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

    def __init__(self, policy: Policy, *, spare: int) -> None:
        self._policy = policy
        # Not of versions that have their first slice and no other: there may be as many as slices.
        self._slices_of: dict[int, int] = {}
        self._superseded: set[str] = set()
        self._spare = spare
        self._without_slices: OrderedDict[str, None] = OrderedDict()

    def add(
        self, key: SliceKey, size: int, budget: int, now: float, *, pinned: bool = False
    ) -> list[Gone]:
        """Take in `key`; what must be off the disk before it is on it.

        :raises ValueError: it does not fit into `budget` even alone.
        """
        if size > budget:
            raise ValueError(f"{size} bytes do not fit into {budget}")
        gone = self.shrink(budget)
        before = self._count(key.version)
        victims = self._policy.add(key, size, now, pinned=pinned)
        if key.version in self._superseded:  # it was under way when its version was replaced
            self._policy.demote(key)
        if before or key.number:
            self._slices_of[short(key.version)] = before + 1
        self._without_slices.pop(key.version, None)
        return gone + self._evicted(victims)

    def load(self, slices: Iterable[Loaded], age: float = 0.0, pinned: Container[str] = ()) -> int:
        """Take in what is on the disk, oldest first, before anything else; how many slices that
        is. `pinned` are versions. `shrink` has what is too much."""
        later, self._superseded = self._policy.load(slices, age, pinned)
        self._slices_of = {}
        for version, count in later.items():
            number, first = short(version), SliceKey(version, 0) in self._policy
            self._slices_of[number] = self._slices_of.get(number, 0) + count + first
        return len(self)

    @property
    def age(self) -> float:
        return self._policy.age

    def shrink(self, budget: int, *, most: int | None = None) -> list[Gone]:
        """What must go for the slices to be within `budget` bytes; about `most` of it, if given."""
        if most is not None and (count := self.count(self.size - budget)) > most:
            budget = self.size - (self.size - budget) * most // count
        return self._evicted(self._policy.shrink(budget))

    def count(self, size: int) -> int:
        """About how many slices have so many bytes."""
        return size * len(self) // self.size if self.size else 0

    def admits(self, key: SliceKey, size: int) -> bool:
        """Whether it is worth a write. False is remembered: the second request may be."""
        return self._policy.admits(key, size)

    def has_half(self, version: str, slice_size: int, budget: int) -> bool:
        """Whether one version has half of the room."""
        return 2 * self._count(version) * slice_size >= budget

    def remove(self, key: SliceKey, reason: Removal) -> list[Gone]:
        if key not in self._policy:
            return []
        size = self._policy.remove(key)
        self._count_out(key.version)
        return [Gone(key, size, reason)]

    def access(self, key: SliceKey, now: float, count: int = 1) -> None:
        self._policy.access(key, now, count)

    def popularity(self, key: SliceKey) -> Popularity | None:
        return self._policy.popularity(key)

    def changed(self) -> Iterable[tuple[SliceKey, int, float]]:
        """Slices with count and priority, where these changed since this was asked last."""
        return self._policy.changed()

    def supersede(self, version: str, slices: range) -> None:
        """`version` was replaced: its slices go first, and are counted as superseded."""
        if not self._count(version):
            return
        self._superseded.add(version)
        for number in slices:
            self._policy.demote(SliceKey(version, number))

    def meta_saved(self, version: str) -> None:
        self._superseded.discard(version)  # the origin has it again
        if not self._count(version):
            self._without_slices[version] = None
            self._without_slices.move_to_end(version)

    @property
    def spare_excess(self) -> int:
        """How many stored responses have to go, if above 0."""
        return len(self._without_slices) - self._spare

    def emptied(self, *, most: int) -> list[str]:
        """Versions, longest without a slice first, whose stored response has to go; `most` of them
        at a time, and each once."""
        count = min(self.spare_excess, most)
        return [self._without_slices.popitem(last=False)[0] for _ in range(count)]

    def _evicted(self, victims: dict[SliceKey, int]) -> list[Gone]:
        gone = []
        for key, size in victims.items():
            superseded = key.version in self._superseded
            gone.append(Gone(key, size, Removal.SUPERSEDED if superseded else Removal.EVICTED))
            self._count_out(key.version)
        return gone

    def _count_out(self, version: str) -> None:
        number = short(version)
        left = self._slices_of.get(number, 1) - 1
        if left:
            self._slices_of[number] = left
        else:
            self._slices_of.pop(number, None)
            self._superseded.discard(version)
            self._without_slices[version] = None

    def has_version(self, version: str) -> bool:
        """Whether it has a slice. Any thread may ask."""
        return self._count(version) > 0

    def _count(self, version: str) -> int:
        """How many slices it has."""
        counted = self._slices_of.get(short(version))
        return (SliceKey(version, 0) in self._policy) if counted is None else counted

    def __contains__(self, key: SliceKey) -> bool:
        return key in self._policy

    def __len__(self) -> int:
        return len(self._policy)

    @property
    def size(self) -> int:
        return self._policy.size
