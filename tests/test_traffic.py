"""Warm fills wait for viewers, and for nobody else."""

import asyncio

from edgecache.core.model import Reason
from edgecache.traffic import Traffic


async def test_it_waits_until_viewers_have_fewer() -> None:
    traffic = Traffic()
    for reason in (Reason.DEMAND, Reason.REVALIDATE, Reason.PASSTHROUGH):
        traffic.begin(reason)
    waiting = asyncio.gather(traffic.below(2), traffic.below(2))
    traffic.end(Reason.PASSTHROUGH)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    traffic.end(Reason.DEMAND)
    await asyncio.wait_for(waiting, 5)


async def test_what_is_warmed_is_no_viewer() -> None:
    traffic = Traffic()
    traffic.begin(Reason.WARM)
    await asyncio.wait_for(traffic.below(1), 5)
    traffic.end(Reason.WARM)
    assert traffic.viewers == 0
