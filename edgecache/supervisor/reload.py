"""A message for all children that were forked before it, stage by stage."""

import logging
from collections.abc import Sequence

from edgecache.supervisor.process import Process

log = logging.getLogger("edgecache.supervisor")


class Reload:
    """Each stage is told when the one before has answered, ended, or let `patience` pass."""

    def __init__(
        self, message: bytes, stages: Sequence[Sequence[Process]], patience: float
    ) -> None:
        self._message = message
        self._stages = list(stages)
        self._told: list[Process] = []
        self._patience = patience
        self.until = 0.0  # monotonic: by then those who were told should have answered

    def advance(self, now: float) -> bool:
        """Go on as far as it goes; whether it is over."""
        while True:
            late = [process for process in self._told if awaited(process)]
            if late and now < self.until:
                return False
            for process in late:
                log.warning("reload not answered name=%s pid=%d", process.name, process.pid)
            if not self._stages:
                return True
            self._tell(now)

    def _tell(self, now: float) -> None:
        self._told = [process for process in self._stages.pop(0) if not process.ended]
        self.until = now + self._patience
        for process in self._told:
            process.send(self._message)


def awaited(process: Process) -> bool:
    return process.unanswered > 0 and not process.ended
