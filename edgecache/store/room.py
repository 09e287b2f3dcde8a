"""How much slices may take, now. Rule: whatever takes room on the disk is counted here, and what
can't be known exactly is counted as more.

Two bounds hold: `limit`, for all that the cache takes, and `min_free`, for what everybody leaves of
the file system. How much is free is looked at now and then; in between the cache knows what it
itself took of it.
"""

from edgecache.store.files import BLOCK, slice_cost
from edgecache.store.lingering import Lingering
from edgecache.store.open_slice import OpenSlices
from edgecache.store.writer import StoreWriter


class Room:
    def __init__(
        self,
        limit: int,
        slice_size: int,
        writer: StoreWriter,
        open_slices: OpenSlices,
        lingering: Lingering,
        *,
        linger: bool,
    ) -> None:
        """`linger`: other processes may hold removed slices open."""
        self.limit = limit
        self.entering = 0  # bytes of slices in the books that are not on the disk yet
        self.leaving = 0  # bytes of files that the changes under way remove first
        self.slack = slack(limit, slice_size) if linger else 0
        self._linger = linger
        self._writer = writer
        self._open = open_slices
        self._lingering = lingering
        self._most = limit  # the lower of the two bounds

    def look(self, slices: int, spare: int, footprint: int) -> None:
        """`spare` bytes, less than none maybe, are free beyond `min_free`, once all changes that
        have ended are done; `slices` are in the books. `footprint` is of when that was seen: the
        writer may be further on."""
        files = self._files(slices) - self.entering + (0 if self._linger else self.leaving)
        self._most = max(min(self.limit, files + footprint + spare), 0)

    @property
    def pressure(self) -> int:
        """Bytes of the limit that `min_free` takes away."""
        return self.limit - self._most

    def budget(self) -> int:
        """What slices may take."""
        return self._most - self._writer.reserve - self._open.unlinked - self.slack

    def excess(self, slices: int) -> int:
        """Bytes that have to go, beside those that are going."""
        return slices - max(self.budget() + self._writer.unswept, 0)

    def is_crowded(self, slices: int, size: int) -> bool:
        """Whether there is no room for so many bytes more until others let go of what is gone."""
        room = self.budget() + self.slack  # first: it sees what else begins to linger
        return self._linger and slices + self.held + size > room

    @property
    def held(self) -> int:
        """Bytes that are out of the books, but that other processes may hold open."""
        return self.leaving + self._lingering.size if self._linger else 0

    def used(self, slices: int) -> int:
        """Bytes on disk."""
        return self._files(slices) + self._writer.footprint

    def _files(self, slices: int) -> int:
        return slices + self._writer.unswept + self._open.unlinked + self.held


def slack(limit: int, slice_size: int) -> int:
    """Bytes to leave for what lingers: a fiftieth, but some slices, but not too much."""
    return min(limit // 4, max(limit // 50, 4 * slice_cost(slice_size + BLOCK)))
