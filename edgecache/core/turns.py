"""Whose turn it is at an origin. Rule of this module: who somebody waits for goes first, but nobody
is passed by for ever; a quarter of the turns is never taken by what nobody waits for."""

from enum import IntEnum
from typing import Generic, TypeVar

from edgecache.core.model import Reason

# Of so many turns that others were given before it, one goes to what nobody waits for.
TRICKLE = 16


class Priority(IntEnum):
    """The smaller the sooner."""

    VIEWER = 0
    REVALIDATION = 1  # before read-ahead: now and then a viewer waits for one
    READAHEAD = 2
    WARM = 3


PRIORITIES = {
    Reason.REVALIDATE: Priority.REVALIDATION,
    Reason.READAHEAD: Priority.READAHEAD,
    Reason.WARM: Priority.WARM,
}


def priority_of(reason: Reason) -> Priority:
    """Of a request for the first time; its repetitions keep it."""
    return PRIORITIES.get(reason, Priority.VIEWER)


W = TypeVar("W")


class Turns(Generic[W]):
    """`limit` turns, and who waits for one: in order of priority, then of coming."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._most_ahead = max(1, limit * 3 // 4)
        self._taken = dict.fromkeys(Priority, 0)
        self._waiting: dict[Priority, dict[W, int]] = {priority: {} for priority in Priority}
        self._came = 0
        self._passed = 0  # turns given to others since the last that went to a lower priority

    def __repr__(self) -> str:
        return f"<Turns {self.taken} of {self.limit} taken, {self.waiting} wait>"

    @property
    def taken(self) -> int:
        return sum(self._taken.values())

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def viewers(self) -> int:
        """Those of anybody but warming, waiting or not."""
        kinds = [priority for priority in Priority if priority is not Priority.WARM]
        return sum(self._taken[kind] + len(self._waiting[kind]) for kind in kinds)

    def take(self, priority: Priority) -> bool:
        """A turn, if there is one."""
        if not self.has_free(priority):
            return False
        self._taken[priority] += 1
        return True

    def has_free(self, priority: Priority) -> bool:
        ahead = self._taken[Priority.READAHEAD] + self._taken[Priority.WARM]
        may_take = priority < Priority.READAHEAD or ahead < self._most_ahead
        return may_take and self.taken < self.limit

    def wait(self, priority: Priority, waiter: W) -> None:
        self._came += 1
        self._waiting[priority][waiter] = self._came

    def leave(self, priority: Priority, waiter: W) -> None:
        """It waits no longer."""
        del self._waiting[priority][waiter]

    def give_back(self, priority: Priority) -> W | None:
        """Who waited and has the turn from here."""
        self._taken[priority] -= 1
        if (following := self._next()) is None:
            return None
        waiter = next(iter(self._waiting[following]))
        del self._waiting[following][waiter]
        self._taken[following] += 1
        return waiter

    def _next(self) -> Priority | None:
        waiting = [one for one in Priority if self._waiting[one] and self.has_free(one)]
        if len(waiting) < 2:
            self._passed = 0
            return waiting[0] if waiting else None
        self._passed += 1
        if self._passed < TRICKLE:
            return waiting[0]
        self._passed = 0
        return min(waiting[1:], key=lambda one: next(iter(self._waiting[one].values())))
