"""Which objects the origin failed to revalidate lately. Rule: no I/O, times are given; bounded, and
what is forgotten only costs a request to the origin."""

from collections import OrderedDict

from edgecache.core.model import ObjectKey

# How long an object is left alone after a failure, in seconds: so a dead origin is asked for each
# object once in a while rather than for each request, and one that recovered is noticed at once.
PAUSE = 1.0
OBJECTS = 1024


class Failures:
    def __init__(self, pause: float = PAUSE, limit: int = OBJECTS) -> None:
        self._pause = pause
        self._limit = limit
        self._failed: OrderedDict[ObjectKey, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failed)

    def note(self, key: ObjectKey, now: float) -> None:
        self._failed[key] = now
        self._failed.move_to_end(key)
        if len(self._failed) > self._limit:
            self._failed.popitem(last=False)

    def is_recent(self, key: ObjectKey, now: float) -> bool:
        """A clock that stepped back ends the pause."""
        failed = self._failed.get(key)
        return failed is not None and 0 <= now - failed < self._pause
