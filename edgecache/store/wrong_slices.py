"""What is told of slices that are wrong when they are read. Rules of this module: damage is one
slice's and is only counted, the first of it logged; so is a missing file, which is no damage, as a
crash leaves rows without one; a disk that does not give what it has is trouble, for a while from
the last time that it failed.
"""

import logging
import time
from collections.abc import Callable

from edgecache.core.model import Removal
from edgecache.store.files import WrongSlice

log = logging.getLogger("edgecache.store")

# For so many seconds after it failed to read, the disk is in trouble.
LASTS = 5.0
ONE_OF_THEM = {
    Removal.CORRUPT: "a slice is damaged, and removed; further ones are only counted",
    Removal.MISSING: "a slice has no file, as after a crash; further ones are only counted",
}


class WrongSlices:
    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: set[Removal] = set()  # what is logged once
        self._unread = ""
        self._since = 0.0

    def note(self, wrong: WrongSlice) -> None:
        if wrong.reason is Removal.UNREAD:
            if not self.trouble:
                log.error("slices are not read, and removed error=%s", wrong)
            self._unread, self._since = str(wrong), self._clock()
        elif wrong.reason not in self._told:
            self._told.add(wrong.reason)
            log.warning(ONE_OF_THEM[wrong.reason])

    @property
    def trouble(self) -> str:
        if self._unread and self._clock() - self._since >= LASTS:
            log.warning("slices are read again, or not tried error=%s", self._unread)
            self._unread = ""
        return self._unread and f"slices are not read: {self._unread}"
