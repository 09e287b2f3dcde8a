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
            after = asyncio.Event()  # signals are heeded in their order
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, after.set)
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGUSR1)
            await after.wait()  # would end here, were it cancelled again
        return stop.is_set()

    assert asyncio.run(run())
    assert told == ["stopping"]
