"""How commands that run for long are stopped: by SIGINT or SIGTERM, and they clear up."""

import asyncio
import signal
from collections.abc import Callable

INTERRUPTED = 130  # what shells make of SIGINT


def stop_on_signal(tell: Callable[[], None]) -> asyncio.Event:
    """Cancels the running task at the first signal; a second must not cut the clearing up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stop = asyncio.Event()

    def end() -> None:
        if task is not None and not stop.is_set():
            stop.set()
            tell()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return stop
