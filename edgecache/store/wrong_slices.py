"""What is told of slices that are wrong when they are read. Rule of this module: damage is one
slice's and is only counted, the first of it logged; a disk that does not give what it has is
trouble, for a while from the last time that it failed.
"""

import logging
import time
from collections.abc import Callable

from edgecache.core.model import Removal

log = logging.getLogger("edgecache.store")

# For so many seconds after it failed to read, the disk is in trouble.
LASTS = 5.0


class WrongSlices:
    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._damaged = False
        self._unread = ""
        self._since = 0.0

    def note(self, unread: str) -> Removal:
        """Of one slice; `unread`: why the disk did not give it, "" where it did. Why it goes."""
        if unread:
            if not self.trouble:
                log.error("slices are not read, and removed error=%s", unread)
            self._unread, self._since = unread, self._clock()
            return Removal.UNREAD
        if not self._damaged:
            log.warning("a slice is damaged, and removed; further ones are only counted")
        self._damaged = True
        return Removal.CORRUPT

    @property
    def trouble(self) -> str:
        if self._unread and self._clock() - self._since >= LASTS:
            log.warning("slices are read again, or not tried error=%s", self._unread)
            self._unread = ""
        return self._unread and f"slices are not read: {self._unread}"
