"""The only place that makes tasks: asyncio keeps weak references, and failures need a log."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("edgecache.tasks")


class Tasks:
    """Owns background tasks. A task that fails is logged; `close()` cancels what still runs."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, coro: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed name=%s error=%r", task.get_name(), error, exc_info=error)

    async def close(self) -> None:
        """Ends them all, those too that others start as they end. Not from one of the tasks."""
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)
