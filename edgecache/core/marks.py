"""What was purged, and which stored responses that concerns. Rule: order is by number, never by a
clock, which may step.

A mark is a purge that is in force before its rows are removed. It has the next number; a stored
response has that of the last purge when it was asked for (`ObjectMeta.epoch`). So a mark concerns
what has a lower number, whatever becomes of it meanwhile, and nothing that was asked for later.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from edgecache.core.model import ObjectKey, ObjectMeta

# In force at a time: each is held against every row that is read.
MOST_MARKS = 256
# Purges to remember, for the answers of the origin that are under way.
REMEMBERED = 1000


class Kind(StrEnum):
    KEY = "key"
    PREFIX = "prefix"
    TAG = "tag"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to go. `origin` "": of every one."""

    kind: Kind
    text: str = ""
    origin: str = ""

    def matches(self, key: ObjectKey, tags: Collection[str]) -> bool:
        if self.kind is Kind.TAG:
            return self.text in tags and self.origin in ("", key.origin)
        return self.may_match(key)

    def may_match(self, key: ObjectKey) -> bool:
        """Whether an object of that key, of which no more is known, could be meant."""
        if self.origin not in ("", key.origin):
            return False
        match self.kind:
            case Kind.KEY:
                return key.key == self.text
            case Kind.PREFIX:
                return key.key.startswith(self.text)
            case _:
                return True


@dataclass(frozen=True, slots=True)
class Mark:
    """Soft: what it concerns is stale, and stays."""

    number: int
    target: Target
    soft: bool = False

    def concerns(self, meta: ObjectMeta) -> bool:
        return meta.epoch < self.number and self.target.matches(meta.key, meta.tags)


def judged(meta: ObjectMeta, marks: Iterable[Mark]) -> ObjectMeta | None:
    """`meta` as the marks leave it; None: it is dead."""
    for mark in marks:
        if mark.concerns(meta):
            if not mark.soft:
                return None
            meta = meta if meta.stale else replace(meta, stale=True)
    return meta


class Marks:
    """Those in force, oldest first, and the number of the last purge there was."""

    def __init__(self) -> None:
        self.last = 0
        self._marks: dict[int, Mark] = {}

    def add(self, target: Target, *, soft: bool) -> Mark:
        self.last += 1
        mark = self._marks[self.last] = Mark(self.last, target, soft)
        return mark

    def count(self) -> None:
        """A purge that needs no mark: its rows are gone when it returns."""
        self.last += 1

    def load(self, last: int, marks: Iterable[Mark]) -> None:
        """What the disk knows; what it does not know yet stays."""
        self.last = max(self.last, last)
        self._marks = {mark.number: mark for mark in marks} | self._marks

    def remove(self, mark: Mark) -> None:
        self._marks.pop(mark.number, None)

    def judged(self, meta: ObjectMeta) -> ObjectMeta | None:
        return judged(meta, self._marks.values()) if self._marks else meta

    @property
    def full(self) -> bool:
        return len(self._marks) >= MOST_MARKS

    def __iter__(self) -> Iterator[Mark]:
        return iter(tuple(self._marks.values()))

    def __len__(self) -> int:
        return len(self._marks)


class Purges:
    """Every purge since the start, for who asked the origin before it and has the answer after."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self.count = 0
        self._recent: deque[Target] = deque(maxlen=limit)

    def add(self, target: Target) -> None:
        self.count += 1
        self._recent.append(target)

    def concern(self, key: ObjectKey, since: int, tags: Collection[str] | None = None) -> bool:
        """Whether one after the first `since` was meant for it; without `tags`, may have been."""
        new = self.count - since
        if new > len(self._recent):
            return True  # nobody knows any more
        recent = list(self._recent)[len(self._recent) - new :]
        if tags is None:
            return any(target.may_match(key) for target in recent)
        return any(target.matches(key, tags) for target in recent)
