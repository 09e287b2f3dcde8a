"""How often what is gone was asked for. Rule of this module: eight bytes a memory; it may forget,
and once in a hundred million times it takes one key for another.

A table of cells in pairs. A key has one pair; of its two cells the older memory gives way.

    sequence   32 bits   which of all memories it is
    tag        28 bits   of the key's hash
    count       4 bits
"""

from array import array

LEAST = 1024  # cells
SEQUENCE_BITS = 32
TAG_BITS = 28
COUNT_BITS = 4
MOST_COUNTED = 2**COUNT_BITS - 1


class Ghosts:
    def __init__(self) -> None:
        self._cells = array("Q", bytes(8 * LEAST))
        self._sequence = 0

    def add(self, key: int, count: int, *, most: int) -> None:
        """Remember `key`; `most` others are to be remembered with it."""
        self._make_room(most)
        place, tag = self._place(key)
        if (known := self._find(key, most)) is not None:
            place = known
        elif self._cells[place ^ 1] < self._cells[place]:
            place ^= 1
        self._sequence += 1
        self._cells[place] = (self._sequence << TAG_BITS | tag) << COUNT_BITS | min(
            count, MOST_COUNTED
        )

    def knows(self, key: int, *, most: int) -> bool:
        """Whether `key` is remembered, and among the last `most`."""
        return self._find(key, most) is not None

    def take(self, key: int, *, most: int) -> int:
        """What is remembered of `key`, if it is among the last `most`, else 0; and forget it."""
        if (place := self._find(key, most)) is None:
            return 0
        count: int = self._cells[place] & MOST_COUNTED
        self._cells[place] = 0
        return count

    def _find(self, key: int, most: int) -> int | None:
        first, tag = self._place(key)
        for place in (first, first ^ 1):
            sequence, found = divmod(self._cells[place] >> COUNT_BITS, 1 << TAG_BITS)
            if sequence > max(self._sequence - most, 0) and found == tag:
                return place
        return None

    def _place(self, key: int) -> tuple[int, int]:
        mixed = hash(key) * 0x9E3779B97F4A7C15 & (1 << 64) - 1  # keys of one object are neighbours
        return (mixed >> TAG_BITS) % len(self._cells), mixed & (1 << TAG_BITS) - 1

    def _make_room(self, most: int) -> None:
        """Where there are more and more slices, or no more numbers, memory begins anew."""
        if most > len(self._cells) or self._sequence + 1 >> SEQUENCE_BITS:
            self._cells = array("Q", bytes(8 * 2 * max(most, LEAST)))
            self._sequence = 0
