"""How far to fetch ahead of a reader, and how much of that in vain. Rule: no clock of its own, and
nothing of fills: slices read and bytes bought are told, what to do next is answered.
"""

from dataclasses import dataclass

# Slices that a reader takes at the origin's pace before any is fetched ahead of it: who looks at
# the beginning of a video has left by then.
ROW = 3
# How many are fetched ahead at first.
FIRST = 4
# A slice that takes its reader so many seconds is a stall: it is no origin that it waits for.
STALL = 1.0
# For so many seconds nothing is fetched ahead of a reader after the origin failed to.
PAUSE = 5.0
# What may be wasted before there is any demand to measure it by, and what is known at first of how
# much is: a tenth of so much was.
ALLOWANCE = 8 * 2**20
GUESS = 0.1
# After so many bytes of demand what was before counts half.
MEMORY = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class AheadLimits:
    slice_size: int = 1
    slices: int = 0  # ahead of one reader at most; 0: none
    connections: int = 1  # for one reader
    fills: int = 1  # for all readers: each has two slices in memory
    waste: float = 0.0  # bytes bought in vain, as part of what was asked for


class Pace:
    """How many slices to fetch ahead of one reader: more while it waits for the origin rather than
    the origin for it, fewer when it stalls."""

    def __init__(self, limits: AheadLimits) -> None:
        self._limits = limits
        self.window = 0
        self._paused_until = 0.0
        self._since(0)

    def _since(self, window: int) -> None:
        self.window = min(window, self._limits.slices)
        self._waited = self._taken = 0.0
        self._read = 0

    @property
    def run(self) -> int:
        """How many slices to ask for in one request."""
        return max(1, self.window // self._limits.connections)

    def read(self, waited: float, taken: float, now: float, *, stored: bool) -> None:
        """One more slice was read: for so many seconds the reader waited for it, so many it took.

        `stored`: what it read a moment ago can be found in the store.
        """
        if not stored or now < self._paused_until:
            self._since(0)
            return
        if taken > STALL:
            self._since(self.window // 2)
            return
        self._waited += waited
        self._taken += taken
        self._read += 1
        if self._read >= max(ROW, self.window // 2):
            keeps_up = self._waited >= self._taken
            self._since(max(2 * self.window, FIRST) if keeps_up else self.window)

    def failed(self, now: float) -> None:
        """What was to be fetched ahead does not come."""
        self._paused_until = now + PAUSE
        self._since(0)


class Waste:
    """What was bought ahead, beside what was asked for, both of late: in bytes."""

    def __init__(self) -> None:
        self.share = 0.0
        self.demand = 0.0
        self.served = 0.0  # of what was bought ahead
        self.wasted = 0.0  # the same, but its readers have gone without it
        self.open = 0  # it is neither yet

    def allows(self, size: int) -> bool:
        """Whether so much more may be bought: if as much of it is wasted as was before, what is
        wasted stays a share of the demand."""
        risk = (self.wasted + GUESS * ALLOWANCE) / (self.wasted + self.served + ALLOWANCE)
        limit = max(self.share * self.demand, ALLOWANCE) if self.share else 0
        return self.wasted + risk * (self.open + size) <= limit

    def buy(self, size: int) -> None:
        """It is being bought ahead."""
        self.open += size

    def give_back(self, size: int) -> None:
        """It was not bought after all."""
        self.open -= size

    def serve(self, size: int) -> None:
        """A reader came to it."""
        self.open -= size
        self.served += size
        self.ask(size)

    def lose(self, size: int) -> None:
        """Nobody is left who would come to it."""
        self.open -= size
        self.wasted += size

    def recover(self, size: int) -> None:
        """Somebody came to what was lost."""
        self.wasted = max(self.wasted - size, 0.0)
        self.served += size
        self.ask(size)

    def ask(self, size: int) -> None:
        """A reader asked for so much that the store did not have, or had from reading ahead."""
        self.demand += size
        if self.demand > MEMORY:
            self.demand /= 2
            self.served /= 2
            self.wasted /= 2
