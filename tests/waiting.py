"""Waiting for what tells nobody."""

import asyncio
from collections.abc import Callable

PATIENCE = 10.0  # seconds until a test that waits for something fails
TICK = 0.001


async def until(condition: Callable[[], object]) -> None:
    """Until `condition` holds.

    The loop sleeps in between: one that only turns takes the interpreter from a store's threads,
    which then need seconds for what they do in a millisecond.
    """
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # there is nothing to wait for
            await asyncio.sleep(TICK)
