"""A circuit breaker. Rule of this module: it is told how requests ended, and when; it tells whether
one more may be made.

Closed, until enough of them failed; open for a while; then half-open: a single trial decides, or,
if it hangs, the next. One object that can't be read, however often it is asked for, says nothing of
all others.
"""

from collections import Counter, deque
from enum import StrEnum

from edgecache.core.model import ObjectKey

WINDOW = 10.0  # seconds that failures are counted over
LONGEST_PAUSE = 60.0
# What is told to wait for a trial that runs.
TRIAL_TAKES = 1.0
# A trial that takes longer, and than the first pause, is not waited for: another one may be made.
# For each that hangs twice as long, since they have turns.
LEAST_PATIENCE = 5.0
# Objects whose trials failed that are known, at most.
SUSPECTS = 8
ORDINARY = 0  # the pass of a request that is no trial
# One object's failures count as so large a share of those needed, at most.
SHARE = 3


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Second:
    """What ended in one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = 0
        self.failures: Counter[ObjectKey] = Counter()


class Window:
    """How many requests ended in the last ten seconds, and how many of which object failed. Kept
    up to date: while everything fails, each failure asks for it."""

    def __init__(self) -> None:
        self._seconds: deque[Second] = deque()
        self._requests = 0
        self._total = 0
        self.failures: Counter[ObjectKey] = Counter()

    def ended(self, now: float) -> None:
        self._at(now).requests += 1
        self._requests += 1

    def failed(self, now: float, key: ObjectKey) -> None:
        self._at(now).failures[key] += 1
        self.failures[key] += 1
        self._total += 1

    def total(self, now: float) -> tuple[int, int]:
        """Requests, and failures; these by object are in `failures` then."""
        self._forget(now)
        return self._requests, self._total

    def clear(self) -> None:
        self._seconds.clear()
        self.failures.clear()
        self._requests = self._total = 0

    def _at(self, now: float) -> Second:
        self._forget(now)
        if not self._seconds or self._seconds[-1].number < int(now):
            self._seconds.append(Second(int(now)))
        return self._seconds[-1]

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0].number <= now - WINDOW:
            second = self._seconds.popleft()
            self._requests -= second.requests
            for key, count in second.failures.items():
                self._total -= count
                self.failures[key] -= count
                if not self.failures[key]:
                    del self.failures[key]


class Breaker:
    """For one origin; `now` is in seconds and never goes back."""

    def __init__(self, failures: int, pause: float) -> None:
        self._failures = failures
        self._first_pause = pause
        self._pause = pause
        self._head_start = min(pause, LEAST_PATIENCE)
        self._window = Window()
        self._until: float | None = None  # None: closed
        self._next_trial = 0.0  # while one runs: when another may, if it has not ended by then
        self._trial = ORDINARY  # the last one, if it runs
        self._trials = 0
        # All that run: also those that hang, whose place another has taken.
        self._running: dict[int, ObjectKey] = {}
        self._suspects: deque[ObjectKey] = deque(maxlen=SUSPECTS)  # whose trials failed

    def __repr__(self) -> str:
        return f"<Breaker until={self._until} pause={self._pause:g} trial={self._trial}>"

    def state(self, now: float) -> BreakerState:
        if self._until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._until else BreakerState.HALF_OPEN

    def is_shut(self, now: float) -> bool:
        """Whether it would let nobody through: not while it waits for somebody to try, who may be
        sent here only where this says that all is well."""
        if self._until is None:
            return False
        return now < (self._next_trial if self._trial else self._until)

    def refuses(self, now: float, key: ObjectKey) -> float:
        """For how many seconds, as far as is known; 0: it would let one through."""
        if self._until is None:
            return 0.0
        free = self._next_trial if self._trial else self._until
        if key in self._suspects or key in self._running.values():
            free += self._head_start  # of all others: it may be the object's fault
        left = max(free - now, 0.0)
        return min(left, TRIAL_TAKES) if self._trial else left

    def admit(self, now: float, key: ObjectKey) -> int | None:
        """The pass of a request that is made now, to be told of with its end; None: make none."""
        if self.refuses(now, key):
            return None
        if self._until is None:
            return ORDINARY
        self._trials += 1
        self._trial = self._trials
        patience = max(self._first_pause, LEAST_PATIENCE) * 2.0 ** len(self._running)
        self._next_trial = now + min(patience, self._longest_pause)
        self._running[self._trial] = key
        return self._trial

    def succeeded(self, pass_: int, now: float) -> None:
        """It was answered: with what does not matter, if a healthy origin may answer so."""
        if self._until is None:
            self._window.ended(now)
        elif pass_ in self._running:
            self._until, self._trial = None, ORDINARY
            self._pause = self._first_pause
            self._window.clear()
            self._running.clear()
            self._suspects.clear()

    def failed(self, pass_: int, now: float, key: ObjectKey) -> None:
        if self._until is None:
            self._window.ended(now)
            self._window.failed(now, key)
            self._judge(now)
        elif self._end(pass_):
            self._open(now, self._pause_after(key))

    def broke(self, now: float, key: ObjectKey) -> None:
        """The body of one that had succeeded."""
        if self._until is None:
            self._window.failed(now, key)
            self._judge(now)

    def dropped(self, pass_: int) -> None:
        """It was given up before its end, which says nothing: another one has to try."""
        self._end(pass_)

    def _end(self, pass_: int) -> bool:
        """Whether it was the trial that decides."""
        self._running.pop(pass_, None)
        decides = pass_ != ORDINARY and pass_ == self._trial
        if decides:
            self._trial = ORDINARY
        return decides

    def _pause_after(self, key: ObjectKey) -> float:
        """A trial of that object failed. A second time says no more than the first."""
        if key in self._suspects:
            return self._first_pause
        self._suspects.append(key)
        self._pause = min(2 * self._pause, self._longest_pause)
        return self._pause

    @property
    def _longest_pause(self) -> float:
        return max(LONGEST_PAUSE, self._first_pause)

    def _judge(self, now: float) -> None:
        requests, failures = self._window.total(now)
        if failures < self._failures or 2 * failures < requests:
            return
        # Not many objects, or it is open after this.
        most = -(-self._failures // SHARE)
        if sum(min(count, most) for count in self._window.failures.values()) >= self._failures:
            self._open(now, self._pause)

    def _open(self, now: float, pause: float) -> None:
        self._until = now + pause
