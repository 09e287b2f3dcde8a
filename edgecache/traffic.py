"""Who asks the origin now. Rule: what nobody waits for gives way to what somebody does."""

import asyncio

from edgecache.core.model import Reason


class Traffic:
    def __init__(self) -> None:
        self.viewers = 0  # requests of theirs that are waited for, or whose answers are being read
        self._fewer = asyncio.Event()

    def begin(self, reason: Reason) -> None:
        self.viewers += reason is not Reason.WARM

    def end(self, reason: Reason) -> None:
        self.viewers -= reason is not Reason.WARM
        self._fewer.set()

    async def below(self, limit: int) -> None:
        """Until viewers have fewer than `limit`."""
        while self.viewers >= limit:
            self._fewer.clear()
            await self._fewer.wait()
