"""What each object cost and gave since the start. Rule of this module: bounded, the least recently
used out first; times are given. An object without an account is one of which nothing is known."""

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edgecache.core.marks import Target
from edgecache.core.model import ObjectKey

OBJECTS = 10_000
PURGES = 1_000


@dataclass(slots=True)
class Account:
    """`last_use` is when a client was last given bytes, 0 for never."""

    bought: int = 0  # body bytes
    served: int = 0  # body bytes
    answers: int = 0  # that gave body bytes
    hits: int = 0  # those of them that did not need the origin
    last_use: float = 0.0


class Given(NamedTuple):
    """What clients were given of one object."""

    served: int
    answers: int
    hits: int


class Giving:
    """What one process gave since it was last asked; hits call `add`."""

    def __init__(self, most: int = OBJECTS) -> None:
        self._most = most
        self._given: dict[ObjectKey, list[int]] = {}

    def add(self, key: ObjectKey, served: int, answers: int = 1, hits: int = 1) -> None:
        if (given := self._given.get(key)) is not None:
            given[0] += served
            given[1] += answers
            given[2] += hits
        elif len(self._given) < self._most:
            self._given[key] = [served, answers, hits]

    def take(self) -> dict[ObjectKey, Given]:
        given, self._given = self._given, {}
        return {key: Given(*counts) for key, counts in given.items()}


class Accounts:
    def __init__(self, most: int = OBJECTS, *, since: float = 0.0) -> None:
        self.since = since
        self._most = most
        self._accounts: OrderedDict[ObjectKey, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, key: ObjectKey) -> Account | None:
        """Not a use."""
        return self._accounts.get(key)

    def bought(self, key: ObjectKey, count: int) -> None:
        self._used(key).bought += count

    def gave(self, given: Mapping[ObjectKey, Given], now: float) -> None:
        for key, (served, answers, hits) in given.items():
            account = self._used(key)
            account.served += served
            account.answers += answers
            account.hits += hits
            account.last_use = now

    def _used(self, key: ObjectKey) -> Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
            if len(self._accounts) > self._most:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(key)
        return account


class Purge(NamedTuple):
    target: Target
    soft: bool
    time: float


class PurgeLog:
    """The purges since the start, the last thousand of them, and when they were."""

    def __init__(self, most: int = PURGES) -> None:
        self._purges: deque[Purge] = deque(maxlen=most)

    def add(self, purge: Purge) -> None:
        self._purges.append(purge)

    def last(self, key: ObjectKey, tags: Collection[str] = ()) -> Purge | None:
        """The last one that was meant for an object of that key, and with these tags."""
        return next((one for one in reversed(self._purges) if one.target.matches(key, tags)), None)
