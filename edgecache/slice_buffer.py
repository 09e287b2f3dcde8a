"""The bytes of one slice as they come in. Rule: any number read what is there, and none holds up
another, or the one who feeds it.
"""

import asyncio

from edgecache.core.errors import EdgecacheError

# What a reader is handed at a time: enough to amortise a write, little for a client that stalls.
PIECE = 2**18


class SliceBuffer:
    """Lives while the fill or a reader holds it."""

    __slots__ = ("_arrived", "_data", "_error", "_filled", "_stored", "length")

    def __init__(self, length: int) -> None:
        self.length = length
        self._filled = 0
        self._data = bytearray()
        self._error: EdgecacheError | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._stored: bool | None = None  # None: that is not decided yet

    def feed(self, data: memoryview) -> memoryview:
        """Takes what belongs to this slice; what is left belongs to the next."""
        if not self._data:
            self._data = bytearray(self.length)
        taken = data[: self.length - self._filled]
        self._data[self._filled : self._filled + len(taken)] = taken
        self._filled += len(taken)
        self._wake()
        return data[len(taken) :]

    @property
    def complete(self) -> bool:
        return self._filled == self.length

    @property
    def filled(self) -> int:
        return self._filled

    @property
    def data(self) -> bytearray:
        return self._data

    def fail(self, error: EdgecacheError) -> None:
        if not self.complete:
            self._error = error
            self._wake()

    def settle(self, *, stored: bool) -> None:
        self._stored = stored
        self._wake()

    async def stored(self) -> bool:
        """Whether the store took it, once it was given it: not before it is complete."""
        while self._stored is None:
            await self._next()
        return self._stored

    async def _next(self) -> None:
        """Until something is new."""
        if self._arrived is None:
            self._arrived = asyncio.get_running_loop().create_future()
        # shield: one reader's cancellation must not end the wait of the others.
        await asyncio.shield(self._arrived)

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set_result(None)
            self._arrived = None

    async def wait(self, start: int, stop: int) -> memoryview:
        """The bytes from `start`, as many as are there, but at most to `stop` and at most a piece.

        :raises EdgecacheError: the fill ended before there were any.
        """
        while self._filled <= start:
            if self._error is not None:
                raise self._error
            await self._next()
        return memoryview(self._data)[start : min(self._filled, stop, start + PIECE)]
