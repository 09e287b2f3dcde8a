"""Whether and when to ask again. Rule: no clock and no chance of its own: both are given."""

from collections import OrderedDict
from enum import StrEnum

from edgecache.core.errors import (
    EdgecacheError,
    NotAsked,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.model import ObjectKey

# So many repetitions are allowed at once, however few requests there were before.
RESERVE = 10.0
# It comes back by so many a second, also where there are hardly any requests.
TRICKLE = 0.5
LONGEST_DELAY = 10.0
# An origin that asks us to wait longer gets no repetition: its viewer is told instead.
LONGEST_WISH = 5.0
# Statuses that pass by themselves. Cloudflare has those above 520.
PASSING = frozenset({408, 429, 500, 502, 503, 504, *range(520, 528)})
# Keys that were readable in the last minutes, at most so many.
READ_LATELY = 300.0
KEYS = 2**14


class Failure(StrEnum):
    """What went wrong with a request, where another may go well."""

    CONNECTION = "connection"  # refused, reset, or an answer that is no HTTP
    TIMEOUT = "timeout"
    BUSY = "busy"
    STATUS = "status"
    DENIED = "denied"


def failure_of(error: EdgecacheError) -> Failure | None:
    """The origin's or the network's failure that it stands for. None: it is an answer, and the next
    would be the same; or nobody was asked."""
    if not isinstance(error, UpstreamError) or isinstance(
        error, NotAsked | VersionChanged | UpstreamDenied
    ):
        return None
    if error.forward_status and error.forward_status not in PASSING:
        return None
    match error:
        case UpstreamTimeout():
            return Failure.TIMEOUT
        case UpstreamBusy():
            return Failure.BUSY
        case _:
            return Failure.STATUS if error.forward_status else Failure.CONNECTION


def worth_repeating(error: EdgecacheError, *, was_readable: bool) -> Failure | None:
    """Why to ask again; None: that would mend nothing. `was_readable`: a moment ago it was."""
    # RunPod refuses now and then what it has just allowed.
    if isinstance(error, UpstreamDenied) and error.forward_status == 403:
        return Failure.DENIED if was_readable else None
    if isinstance(error, UpstreamBusy) and error.wish > LONGEST_WISH:
        return None
    return failure_of(error)


class Readable:
    """The keys that the origin gave us a moment ago, the oldest forgotten first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[int, float] = OrderedDict()  # by hash: long keys cost nothing

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: ObjectKey, now: float) -> None:
        self._keys[hash(key)] = now
        self._keys.move_to_end(hash(key))
        if len(self._keys) > KEYS:
            self._keys.popitem(last=False)

    def has(self, key: ObjectKey, now: float) -> bool:
        return now - self._keys.get(hash(key), -READ_LATELY) < READ_LATELY


class RetryBudget:
    """A share of the requests to one origin that may be repetitions of others."""

    def __init__(self, share: float, now: float) -> None:
        """`share`: of all requests, 0 to 1; `now`: seconds, as in all that follows."""
        self._share = share
        self._tokens = RESERVE if share else 0.0
        self._at = now

    def request(self, now: float) -> None:
        """One that is no repetition was made."""
        self._refill(now)
        self._tokens = min(self._tokens + self._share, RESERVE)

    def take(self, now: float) -> bool:
        """Whether one more repetition may be made, which then counts."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self, now: float) -> None:
        if self._share:
            self._tokens = min(self._tokens + max(now - self._at, 0) * TRICKLE, RESERVE)
        self._at = now


def retry_delay(first: float, attempt: int, chance: float) -> float:
    """Seconds to wait before repetition `attempt` (from 0): doubled each time, and between half and
    all of that by `chance` (0 to 1), so that those who failed together do not return together."""
    return min(first * 2.0**attempt, LONGEST_DELAY) * (0.5 + chance / 2)
