"""When a first byte is late enough to ask a second time. Rule: a share of the requests at most."""

from bisect import bisect_left, insort
from collections import deque

# The most recent first bytes that count, and how many there must be to tell late from slow.
WINDOW = 200
LEAST = 20
LATE = 0.95
# So many hedges at once, where there was none for long.
MOST_AT_ONCE = 10.0


class Hedging:
    """Of the requests to one origin; times in seconds."""

    def __init__(self, share: float) -> None:
        """`share`: of all requests, 0 to 1. 0: none, and nothing is remembered."""
        self._share = share
        self._credit = 0.0
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def request(self) -> None:
        """One was made, that is no hedge."""
        self._credit = min(self._credit + self._share, MOST_AT_ONCE)

    def took(self, seconds: float) -> None:
        """A first byte came after so long; or was given up then, for a hedge's."""
        if not self._share:
            return
        if len(self._recent) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._sorted, seconds)

    def late(self) -> float | None:
        """After how long a request may be hedged; None: not at all."""
        if len(self._sorted) < LEAST or self._credit < 1:
            return None
        return self._sorted[int(LATE * len(self._sorted))]

    def take(self) -> bool:
        """Whether one more hedge may be made, which then counts."""
        if self._credit < 1:
            return False
        self._credit -= 1
        return True
