"""Whether and when to ask again. Rule: no clock and no chance of its own: both are given."""

# So many repetitions are allowed at once, however few requests there were before.
RESERVE = 10.0
# It comes back by so many a second, also where there are hardly any requests.
TRICKLE = 0.5
LONGEST_DELAY = 10.0


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
