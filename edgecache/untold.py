"""What a failing disk could not be told of objects. Rule: nobody goes by what it says of them until
it was told; no more than `MOST` are remembered, then it is to forget them all.
"""

from collections.abc import Callable

from edgecache.core.index import OBJECTS
from edgecache.core.model import ObjectKey

MOST = OBJECTS

Settle = Callable[[], None]


class Untold:
    def __init__(self, most: int = MOST) -> None:
        self.everything = False  # nothing that the disk says holds
        self._most = most
        self._settles: dict[ObjectKey, Settle] = {}

    def __contains__(self, key: ObjectKey) -> bool:
        return self.everything or key in self._settles

    def __bool__(self) -> bool:
        return self.everything or bool(self._settles)

    def add(self, key: ObjectKey, settle: Settle) -> bool:
        """`settle` is to be called once it is told. False: that is one too many."""
        if self.everything:
            return True
        self._settles[key] = settle
        return len(self._settles) <= self._most

    def all(self) -> list[tuple[ObjectKey, Settle]]:
        return list(self._settles.items())

    def told(self, key: ObjectKey, settle: Settle) -> None:
        if self._settles.get(key) is settle:  # else it is about a later change
            del self._settles[key]
        settle()

    def give_up(self) -> None:
        self._settles.clear()
        self.everything = True
