"""One signal stops a command; a second one does not hurt it."""

import asyncio
import signal

import pytest

from edgecache.cli.stopping import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_task_is_cancelled_once(number: signal.Signals) -> None:
    told: list[str] = []

    async def run() -> bool:
        stop = stop_on_signal(lambda: told.append("stopping"))
        try:
            signal.raise_signal(number)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            signal.raise_signal(number)
            await asyncio.sleep(0.01)  # would end here, were it cancelled again
        return stop.is_set()

    assert asyncio.run(run())
    assert told == ["stopping"]
