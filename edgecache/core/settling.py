"""Whether an object may still be written to. Rule: no I/O, times are given; bounded."""

from collections import OrderedDict

from edgecache.core.model import ObjectKey, ObjectMeta

# Objects whose last change is remembered. What is forgotten is stored a little too early, and then
# seen to be replaced once more.
OBJECTS = 1024


class Changes:
    """When objects were last seen to be replaced while they were read."""

    def __init__(self, limit: int = OBJECTS) -> None:
        self._limit = limit
        self._seen: OrderedDict[ObjectKey, float] = OrderedDict()

    def note(self, key: ObjectKey, now: float) -> None:
        self._seen[key] = now
        self._seen.move_to_end(key)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)

    def last(self, key: ObjectKey) -> float | None:
        return self._seen.get(key)


def settles_in(meta: ObjectMeta, settle: float, *, changed: float | None, now: float) -> float:
    """In how many seconds its last change will be `settle` seconds ago; 0: it is.

    The origin's Last-Modified is compared with the origin's Date, and only where it sent none with
    our clock; `changed`, the last change that we saw, with `now`.
    """
    ages = []
    if meta.last_modified is not None:
        ages.append((meta.response_time if meta.date is None else meta.date) - meta.last_modified)
    if changed is not None:
        ages.append(now - changed)
    # What lies further ahead is no time of a change: such an object would never be stored.
    return max((settle - max(age, 0) for age in ages if abs(age) < settle), default=0.0)
