"""Which slices stay. Rule of a policy: it decides and returns what must go; others do it.

The seam is `add` returning victims with their sizes: a victim is out of the books at once and must
be off the disk before the new slice is on it. Demoted slices go first, pinned ones last. Times are
given, in seconds of a clock that goes on over restarts.
"""

from collections.abc import Container, Iterable
from typing import NamedTuple, Protocol

from edgecache.core.model import SliceKey

# The priority that is written down of what was demoted.
GOES_FIRST = -1.0
# Writes of so many bytes are spared where writes are dear.
WORN = 2**20


# A slice as the last process left it: (name, size, count, priority); count 0: nobody knows how
# popular it was. Plain, and the name in one piece: at a start there may be a million.
Loaded = tuple[bytes, int, int, float]


def name_of(key: SliceKey) -> bytes:
    """20 bytes: the version, and the number, big-endian."""
    return bytes.fromhex(key.version) + key.number.to_bytes(4, "big")


def key_of(name: bytes) -> SliceKey:
    return SliceKey(name[:16].hex(), int.from_bytes(name[16:], "big"))


class Taken(NamedTuple):
    """What a load has seen, for who would have to go through all once more."""

    later: dict[str, int]  # how many slices each version has beside its first
    demoted: set[str]  # versions


class Popularity(NamedTuple):
    """How often a slice was asked for, as far as that counts, and its place: the lowest goes."""

    count: int  # type: ignore[assignment]  # not tuple's method
    priority: float


class Policy(Protocol):
    """A byte-bounded set of slices. Sizes are in bytes."""

    def add(
        self, key: SliceKey, size: int, now: float, *, pinned: bool = False
    ) -> dict[SliceKey, int]:
        """Take in `key`; the victims, in order, that must go first for the limit to hold.

        :raises ValueError: it alone is larger than the limit; nothing has changed then.
        """

    def access(self, key: SliceKey, now: float, count: int = 1) -> None:
        """`key` was asked for so often."""

    def admits(self, key: SliceKey, size: int) -> bool:
        """Whether `key` is worth a write, asked where writes are dear. A refusal is remembered, so
        that who asks again gets another answer."""

    def load(
        self, slices: Iterable[Loaded], age: float = 0.0, pinned: Container[str] = ()
    ) -> Taken:
        """All there is, oldest first, also beyond the limit: `shrink` has the victims. `age` is as
        the last process left it, and no slice but demoted or pinned ones has a priority below;
        `pinned` are versions."""

    def shrink(self, limit: int) -> dict[SliceKey, int]:
        """Set the limit, higher or lower; the victims that a lower one asks for."""

    def demote(self, key: SliceKey) -> None:
        """From now on `key` is evicted before any slice that is not demoted, used or not."""

    def remove(self, key: SliceKey) -> int:
        """Forget `key`; its size, 0 if it was unknown."""

    def popularity(self, key: SliceKey) -> Popularity | None: ...

    def changed(self) -> Iterable[tuple[SliceKey, int, float]]:
        """(key, count, priority) of slices where these are others than when this was last asked."""

    @property
    def age(self) -> float:
        """What goes on growing, and is to be given to the next process's `load`."""

    def __contains__(self, key: SliceKey) -> bool: ...

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Bytes held."""
