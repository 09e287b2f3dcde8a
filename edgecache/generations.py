"""Whether what a process remembers of an object still holds. Rule: a number for each group of keys,
in memory that every process sees; comparing it is all that a reader does.

Odd: what is known of one of these objects is not on disk yet, so nobody may go by the disk.
"""

from collections.abc import Callable
from mmap import mmap
from zlib import crc32

from edgecache.core.model import ObjectKey

SLOTS = 2**14
CELL = 8
MEMORY = SLOTS * CELL  # bytes


class Generations:
    """Any process reads; only the one that writes the store calls `begin`, `settle`, `renew`."""

    def __init__(self, memory: mmap | bytearray | None = None) -> None:
        """`memory`: MEMORY bytes, all zero at first; None: nobody else is to see it."""
        self.cells = memoryview(bytearray(MEMORY) if memory is None else memory).cast("Q")
        self._unsettled: dict[int, dict[ObjectKey, int]] = {}
        self._changes = 0
        self._everything = False  # has changed, and the disk does not say so yet
        self._held = False

    @staticmethod
    def slot(key: ObjectKey) -> int:
        name = f"{key.origin}\n{key.key}".encode("utf-8", "surrogateescape")
        return crc32(name) % SLOTS

    def begin(self, key: ObjectKey) -> Callable[[], None]:
        """What was known of `key` holds no more. The result is to be called once the disk says
        what is known now; never, if the disk can't be told."""
        slot = self.slot(key)
        self._changes += 1
        change = self._changes
        generation = self.cells[slot]
        self.cells[slot] = generation + (2 if generation % 2 else 1)
        if self._held:
            return lambda: None
        self._unsettled.setdefault(slot, {})[key] = change
        return lambda: self._settle(slot, key, change)

    def _settle(self, slot: int, key: ObjectKey, change: int) -> None:
        waiting = self._unsettled.get(slot, {})
        if waiting.get(key) != change:
            return  # there is a later change
        del waiting[key]
        if not waiting:
            del self._unsettled[slot]
            if not self._everything:
                self.cells[slot] += 1

    def begin_all(self) -> None:
        """As `begin`, for every object; `renew` settles it."""
        self._everything = True
        for slot, generation in enumerate(self.cells):
            self.cells[slot] = generation + (2 if generation % 2 else 1)

    def hold(self) -> None:
        """As `begin_all`; and changes to come need not be settled, which none is until `renew`."""
        self._held = True
        self._unsettled.clear()
        self.begin_all()

    def release(self) -> None:
        """Changes to come are to be settled again; `renew` ends the rest."""
        self._held = False

    def renew(self) -> None:
        """Nothing that anybody remembers holds; the disk does, but for changes under way."""
        self._everything = False
        for slot, generation in enumerate(self.cells):
            self.cells[slot] = generation + 2 - generation % 2 + (slot in self._unsettled)
