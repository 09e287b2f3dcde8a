"""Which files this process has read to their end and found right. Rule: a file that was touched in
any way since is another one; what is forgotten, or was never known, is only verified again.
"""

import os
import time
from array import array
from collections.abc import Callable
from functools import partial

from edgecache.core.model import SliceKey

# Slices to remember at most: a megabyte in all.
CELLS = 2**16
# A file changed later than that, in seconds, may change again without its times telling: they are
# as coarse as the kernel's tick, on some file systems as a second.
SETTLED = 2.0


class Verified:
    """One cell a slice, in a place given by its key: what comes to the same place replaces it.

    Any thread may call. A cell is two words, and they may come from two slices if two threads
    write at once: the second word is of the key too, so that they fit neither.
    """

    def __init__(self, cells: int = CELLS, *, clock: Callable[[], float] = time.time) -> None:
        self._cells = cells
        self._clock = clock
        self._keys = array("q", bytes(8 * cells))
        self._files = array("q", bytes(8 * cells))

    def adding(self, key: SliceKey, file: os.stat_result) -> Callable[[], None] | None:
        """To be called once all of `file`, as it is now, was found right; None: it is too young."""
        if self._clock() - file.st_ctime_ns / 1e9 < SETTLED:
            return None
        return partial(self._add, key, file)

    def _add(self, key: SliceKey, file: os.stat_result) -> None:
        place = hash(key) % self._cells
        self._keys[place] = hash(key)
        self._files[place] = digest(key, file)

    def __contains__(self, key: SliceKey) -> bool:
        """Whether a file of that slice was verified; which one, `is_same` tells."""
        return self._keys[hash(key) % self._cells] == hash(key)

    def is_same(self, key: SliceKey, file: os.stat_result) -> bool:
        return self._files[hash(key) % self._cells] == digest(key, file)


def digest(key: SliceKey, file: os.stat_result) -> int:
    """Of all that changes when somebody writes to a file, renames it or puts another in its place;
    ctime nobody can set."""
    times = (file.st_mtime_ns, file.st_ctime_ns)
    return hash((key, file.st_dev, file.st_ino, file.st_size, *times))
