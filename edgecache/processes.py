"""The processes of one server: a keeper and workers under a parent, or one that is all.

Rule of this module: what must not be tried again and again (a port that is taken, a certificate
that can't be read) is found out in the parent, before anything is forked.
"""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import SSLContext

from edgecache.board import Board
from edgecache.config import Config
from edgecache.config_fixed import changed, keep_fixed
from edgecache.core.errors import CannotStart, ConfigError
from edgecache.cpus import usable_cpus
from edgecache.descriptors import most_connections
from edgecache.families import Families
from edgecache.memory import uncollected
from edgecache.process import LoopFactory, live_alone, run, serve_as_child
from edgecache.reloads import Reloads
from edgecache.shared import Shared
from edgecache.store.folder import check_unused
from edgecache.supervisor import Child, Role, raise_file_limit, supervise
from edgecache.web.app import Server
from edgecache.web.listening import BACKLOG, bind, bind_group, tls_context, url_of
from edgecache.web.worker import Worker

log = logging.getLogger("edgecache.serve")


@dataclass(frozen=True, slots=True)
class Sockets:
    """What the parent opens and the children inherit: they outlive each of them."""

    public: list[socket.socket]
    admin: socket.socket
    relay: socket.socket
    path: Path  # of `relay`

    def close_public(self) -> None:
        """No new connections: those of workers that still drain are theirs."""
        for one in self.public:
            one.close()

    def keep(self, *own: socket.socket) -> None:
        """Close all others, in a child."""
        for one in (*self.public, self.admin, self.relay):
            if one not in own:
                one.close()


class Processes:
    """`read` gives the config anew, or raises a ConfigError."""

    def __init__(
        self, config: Config, read: Callable[[], Config], loop_factory: LoopFactory
    ) -> None:
        self._config = config
        self._number = 1
        self._read_all = read
        # Of workers to come: a certificate that goes bad on disk is no reason for them not to.
        self._tls: SSLContext | None = None
        self._loop_factory = loop_factory

    def run(self) -> int:
        """Until SIGTERM; the exit status.

        :raises ConfigError: it can't be served as configured; CannotStart, StoreError: not now.
        """
        files = raise_file_limit()
        if (most := most_connections()) < self._config.listen.max_connections:
            log.warning("at most %d connections, of %d open files", most, files)
        count = self._config.listen.workers
        workers = usable_cpus() if count == "auto" else count
        if workers > 1:
            with ExitStack() as stack:
                return self._run_several(workers, stack)
        self._run_alone()
        return 0

    def _run_alone(self) -> None:
        server = Server(self._config)
        server.metrics.reloads.begin()

        def tell() -> None:
            log.info("serving url=%s admin=%s", server.url, server.admin_url)

        run(
            lambda events: live_alone(
                server,
                events,
                on_ready=tell,
                read=partial(self._read_anew, server.metrics.reloads),
                drain_timeout=self._config.listen.drain_timeout,
            ),
            self._loop_factory,
        )

    def _read(self) -> Config:
        """:raises ConfigError:"""
        return keep_fixed(self._config, self._read_all())

    def _read_anew(self, reloads: Reloads) -> Config | None:
        """None: it can't be used, and the log says why."""
        try:
            whole = self._read_all()
            config = keep_fixed(self._config, whole)
            self._tls = tls_context(config.listen.tls)
        except ConfigError as error:
            for line in error.message.splitlines():
                log.error("reload: the config is kept as it was: %s", line)
            reloads.ended(ok=False)
            return None
        for setting in changed(self._config, whole):
            log.warning("reload: %s changes only with a restart", setting)
        self._config = config
        self._number += 1
        reloads.ended(ok=True)
        log.info("reload: config read")
        return config

    def _run_several(self, workers: int, stack: ExitStack) -> int:
        self._tls = tls_context(self._config.listen.tls)
        check_unused(self._config.cache.dir)
        with uncollected():  # nor copied to each child by being looked at
            sockets = self._open(workers, stack)
            shared = Shared(["keeper", *(f"worker-{number}" for number in range(1, workers + 1))])
            reloads = Reloads(Families(Board(shared.boards[-1])))
            reloads.begin()
            roles = [Role("keeper", self._keeper(shared, sockets))]
            roles += [
                Role(name, self._worker(shared, sockets, index))
                for index, name in enumerate(shared.states.names)
                if index
            ]
        return supervise(
            roles,
            states=shared.states,
            drain_timeout=self._config.listen.drain_timeout,
            reload=partial(self._message, reloads),
            on_drain=sockets.close_public,
        )

    def _open(self, workers: int, stack: ExitStack) -> Sockets:
        listen, admin = self._config.listen, self._config.admin
        folder = Path(tempfile.mkdtemp(prefix="edgecache-"))  # 0700
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        path = folder / "keeper"
        sockets = Sockets(
            bind_group(listen.host, listen.port, workers),
            bind(admin.host, admin.port, section="admin"),
            relay_socket(path),
            path,
        )
        scheme = "https" if listen.tls.cert else "http"
        public, private = (one.getsockname() for one in (sockets.public[0], sockets.admin))
        log.info(
            "serving url=%s admin=%s workers=%d",
            url_of(public[0], public[1], scheme),
            url_of(private[0], private[1], "http"),
            workers,
        )
        return sockets

    def _keeper(self, shared: Shared, sockets: Sockets) -> Callable[[Child], int]:
        parent = os.getpid()

        def make() -> Server:
            return Server(
                self._config, shared=shared, listener=sockets.relay, admin_listener=sockets.admin
            )

        def role(child: Child) -> int:
            sockets.keep(sockets.relay, sockets.admin)
            try:
                return self._serve(child, make)
            finally:
                if os.getppid() != parent:  # it was killed, and left the folder behind
                    shutil.rmtree(sockets.path.parent, ignore_errors=True)

        return role

    def _worker(self, shared: Shared, sockets: Sockets, index: int) -> Callable[[Child], int]:
        listener = sockets.public[index - 1]

        def make() -> Worker:
            return Worker(
                self._config,
                shared=shared,
                index=index,
                listener=listener,
                keeper=sockets.path,
                tls=self._tls,
            )

        def role(child: Child) -> int:
            sockets.keep(listener)
            return self._serve(child, make)

        return role

    def _serve(self, child: Child, make: Callable[[], Server | Worker]) -> int:
        return serve_as_child(child, make, self._number, self._read, self._loop_factory)

    def _message(self, reloads: Reloads) -> bytes | None:
        """What children are told: the number of the config that they are to read."""
        return None if self._read_anew(reloads) is None else b"%d" % self._number


def relay_socket(path: Path) -> socket.socket:
    """Where the keeper listens, for our own user only.

    :raises CannotStart: the path is too long for a socket's, or the disk does not take it.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise CannotStart(f"$TMPDIR: no socket in {path.parent}: {error}") from error
    path.chmod(0o600)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
