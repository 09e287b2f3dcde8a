"""Waiting for a turn at an origin. Rule: a turn is held until its answer's body is closed, and no
end of a wait, however it comes, leaves one behind."""

import asyncio

from edgecache.core.errors import NotAsked
from edgecache.core.turns import Priority, Turns


class Turn:
    def __init__(self, queue: "TurnQueue", priority: Priority) -> None:
        self._queue = queue
        self._priority = priority
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._queue.give_back(self._priority)


class TurnQueue:
    """`limit` at a time; the others wait, for `timeout` seconds at most."""

    def __init__(self, limit: int, timeout: float) -> None:
        self._turns: Turns[asyncio.Future[None]] = Turns(limit)
        self._timeout = timeout
        self._fewer = asyncio.Event()

    def __repr__(self) -> str:
        return repr(self._turns)

    @property
    def limit(self) -> int:
        return self._turns.limit

    @property
    def taken(self) -> int:
        return self._turns.taken

    @property
    def waiting(self) -> int:
        return self._turns.waiting

    def has_free(self, priority: Priority) -> bool:
        return self._turns.has_free(priority)

    async def take(self, priority: Priority) -> Turn:
        """:raises NotAsked: none came in time."""
        if not self._turns.take(priority):
            await self._wait(priority)
        return Turn(self, priority)

    async def _wait(self, priority: Priority) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._turns.wait(priority, waiter)
        try:
            # Unlike wait_for it leaves the future alone: whether it has a turn stays to be seen.
            await asyncio.wait([waiter], timeout=self._timeout)
        except asyncio.CancelledError:
            if waiter.done():  # given in the same moment
                self.give_back(priority)
            else:
                self._leave(priority, waiter)
            raise
        if not waiter.done():
            self._leave(priority, waiter)
            raise NotAsked(
                "too many requests to the origin, try again",
                detail="queue-timeout",
                retry_after=self._timeout,
            )

    def _leave(self, priority: Priority, waiter: asyncio.Future[None]) -> None:
        self._turns.leave(priority, waiter)
        self._fewer.set()

    def give_back(self, priority: Priority) -> None:
        if (waiter := self._turns.give_back(priority)) is not None:
            waiter.set_result(None)
        self._fewer.set()

    async def viewers_below(self, limit: int) -> None:
        """Until fewer than `limit` are had or waited for by anybody but warming."""
        while self._turns.viewers >= limit:
            self._fewer.clear()
            await self._fewer.wait()
