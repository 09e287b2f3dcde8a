"""A keeper and two workers, in one process and on one clock, over real sockets.

Rule of this module: all of it is the product's own but the processes. Connections go to one worker
and the other in turn.
"""

import socket
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from edgecache.config import Config
from edgecache.processes import relay_socket
from edgecache.shared import Shared
from edgecache.web.app import Server
from edgecache.web.worker import Worker

WORKERS = 2


class Cluster(Server):
    """Like a server; `url` is another worker's each time."""

    def __init__(self, config: Config, *, clock: Callable[[], float]) -> None:
        # A socket's path may not be as long as that of a test's folder.
        self._folder = tempfile.TemporaryDirectory(prefix="edgecache-")
        self.path = Path(self._folder.name) / "keeper"
        self.relay = relay_socket(self.path)
        self.shared = Shared(["keeper", *(f"worker-{n + 1}" for n in range(WORKERS))])
        self.workers: list[Worker] = []
        self._turn = cycle(range(WORKERS))
        super().__init__(config, clock=clock, shared=self.shared, listener=self.relay)

    @property
    def url(self) -> str:
        return self.workers[next(self._turn)].url if self.workers else ""

    @url.setter
    def url(self, url: str) -> None: ...

    async def start(self, number: int = 0) -> None:
        await super().start(number)
        for index in range(1, WORKERS + 1):
            listener = socket.create_server((self.config.listen.host, 0))
            worker = Worker(
                self.config,
                shared=self.shared,
                index=index,
                listener=listener,
                keeper=self.path,
                clock=self._clock,
            )
            await worker.start(number)
            self.workers.append(worker)

    async def close(self) -> None:
        for worker in self.workers:
            await worker.close()
        self.workers.clear()
        await super().close()
        self.relay.close()
        self._folder.cleanup()
