"""A circuit breaker. Rule of this module: it is told how requests ended, and when; it tells whether
one more may be made.

Closed, until enough of them failed; open for a while; then half-open: a single trial decides.
"""

from collections import deque
from enum import StrEnum

WINDOW = 10.0  # seconds that failures are counted over
LONGEST_PAUSE = 60.0
# What is told to wait for a trial that runs.
TRIAL_TAKES = 1.0
ORDINARY = 0  # the pass of a request that is no trial


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Window:
    """How many requests ended in the last ten seconds, and how many of them failed."""

    def __init__(self) -> None:
        self._seconds: deque[list[float]] = deque()  # [second, requests, failures]

    def add(self, now: float, requests: int, failures: int) -> None:
        self._forget(now)
        second = float(int(now))
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += requests
        self._seconds[-1][2] += failures

    def counts(self, now: float) -> tuple[float, float]:
        """(requests, failures)"""
        self._forget(now)
        return sum(one[1] for one in self._seconds), sum(one[2] for one in self._seconds)

    def clear(self) -> None:
        self._seconds.clear()

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW:
            self._seconds.popleft()


class Breaker:
    """For one origin; `now` is in seconds and never goes back."""

    def __init__(self, failures: int, pause: float) -> None:
        self._failures = failures
        self._first_pause = pause
        self._pause = pause
        self._window = Window()
        self._until: float | None = None  # None: closed
        self._trial = ORDINARY  # the one that runs
        self._trials = 0

    def __repr__(self) -> str:
        return f"<Breaker until={self._until} pause={self._pause:g} trial={self._trial}>"

    def state(self, now: float) -> BreakerState:
        if self._until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._until else BreakerState.HALF_OPEN

    def refuses(self, now: float) -> float:
        """For how many seconds, as far as is known; 0: it would let one through."""
        if self._until is None:
            return 0.0
        if now < self._until:
            return self._until - now
        return TRIAL_TAKES if self._trial else 0.0

    def admit(self, now: float) -> int | None:
        """The pass of a request that is made now, to be told of with its end; None: make none."""
        if self.refuses(now):
            return None
        if self._until is None:
            return ORDINARY
        self._trials += 1
        self._trial = self._trials
        return self._trial

    def succeeded(self, pass_: int, now: float) -> None:
        """It was answered: with what does not matter, if a healthy origin may answer so."""
        if self._until is None:
            self._window.add(now, 1, 0)
        elif self._is_trial(pass_):
            self._until, self._trial = None, ORDINARY
            self._pause = self._first_pause
            self._window.clear()

    def failed(self, pass_: int, now: float) -> None:
        if self._until is None:
            self._window.add(now, 1, 1)
            self._judge(now)
        elif self._is_trial(pass_):
            longest = max(LONGEST_PAUSE, self._first_pause)
            self._pause = min(2 * self._pause, longest)
            self._open(now)

    def broke(self, now: float) -> None:
        """The body of one that had succeeded."""
        if self._until is None:
            self._window.add(now, 0, 1)
            self._judge(now)

    def dropped(self, pass_: int) -> None:
        """It was given up before its end, which says nothing: another one has to try."""
        if self._is_trial(pass_):
            self._trial = ORDINARY

    def _is_trial(self, pass_: int) -> bool:
        return pass_ != ORDINARY and pass_ == self._trial

    def _judge(self, now: float) -> None:
        requests, failures = self._window.counts(now)
        if failures >= self._failures and 2 * failures >= requests:
            self._open(now)

    def _open(self, now: float) -> None:
        self._until, self._trial = now + self._pause, ORDINARY
