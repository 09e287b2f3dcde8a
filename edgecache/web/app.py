"""The keeper, or the only process: what lasts, and the order of start and end."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiohttp import web

from edgecache.board import Board
from edgecache.catalog import Catalog
from edgecache.config import Config
from edgecache.core.accounts import Accounts, Giving
from edgecache.core.model import Waste
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.metrics import Metrics
from edgecache.purger import Purger
from edgecache.readahead import Readahead
from edgecache.shared import Shared
from edgecache.store import SliceStore
from edgecache.store.disk import DiskStore
from edgecache.store.space import size_on
from edgecache.tasks import Tasks
from edgecache.uses import read_given, read_uses
from edgecache.web.accesslog import open_access_log
from edgecache.web.admin import Admin
from edgecache.web.listening import accept_on, bind, load_certificate, tls_context
from edgecache.web.protocol import HttpServer, require_c_parser
from edgecache.web.relayed import RelayedServer, RelaySite
from edgecache.web.routing import admission
from edgecache.web.service import Lasting, Service

log = logging.getLogger("edgecache.serve")

# How long another process may hold a slice that was removed: it looks four times a second, and one
# that it is opening just then it lets go of at the next look.
LINGER = 1.0
TELL_EVERY = 1.0
# Answers of a config that was replaced may go on for so long.
RETIREMENT = 3600.0


class Server:
    """A running edgecache: `url` and `admin_url` say where."""

    def __init__(
        self,
        config: Config,
        *,
        store: SliceStore | None = None,
        clock: Callable[[], float] = time.time,
        shared: Shared | None = None,
        listener: socket.socket | None = None,
        admin_listener: socket.socket | None = None,
    ) -> None:
        """With `shared` it is the keeper of workers, who ask it on `listener`."""
        self.config = config
        self.url = ""
        self.admin_url = ""
        self._clock = clock
        self._shared = shared
        self._listener = listener
        self._admin_listener = admin_listener
        routes = [route.path for route in config.routes]
        if shared is None:
            self.metrics = Metrics(config.costs, routes)
            self.generations = Generations()
        else:
            own, *others = map(Board, shared.boards)
            self.metrics = Metrics(config.costs, routes, own, others)
            self.generations = Generations(shared.generations)
        self.tasks = Tasks()
        self.accounts = Accounts(since=clock())
        self.store = store or DiskStore(
            config.cache.dir,
            limit=size_on(config.cache.dir, config.cache.size),
            slice_size=config.cache.slice_size,
            policy=config.cache.policy,
            min_free=size_on(config.cache.dir, config.cache.min_free),
            clock=clock,
            on_removal=self.metrics.removed,
            on_unlinked=self._unlinked,
            on_lost=self._lost,
            linger=LINGER if shared else 0.0,
        )
        self.store.admission = admission(config)
        self._stack = AsyncExitStack()

    def _unlinked(self) -> None:
        if self._shared:
            self._shared.removals[0] += 1

    def _lost(self) -> None:
        self.metrics.indexes_lost.inc()
        self.catalog.forget()  # each object's next answer brings its row back

    async def start(self, number: int = 0) -> None:
        """`number` is the config's.

        :raises ConfigError: one of its files can't be used; CannotStart: a port is taken;
        StoreError: the folder is in use.
        """
        require_c_parser()
        try:
            await self._start(number)
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self, number: int) -> None:
        config, metrics = self.config, self.metrics
        # A keeper needs none: a certificate that went bad is no reason for it not to start.
        self._tls = None if self._listener else tls_context(config.listen.tls)
        self._stack.push_async_callback(self.store.close)
        self._stack.push_async_callback(self.tasks.close)
        fills = FillTable(
            self.tasks,
            on_end=lambda end: metrics.fills.labels(end).inc(),
            on_waste=lambda count: metrics.wasted(Waste.UNSTORED, count),
        )
        metrics.fills_active.set_function(lambda: len(fills))
        self.catalog = Catalog(
            self.store,
            self.tasks,
            metrics,
            fills,
            generations=self.generations,
            clock=self._clock,
            slice_size=config.cache.slice_size,
        )
        await self.store.start()
        self._lasting = Lasting(
            store=self.store,
            catalog=self.catalog,
            fills=fills,
            readahead=Readahead(
                self._clock,
                on_lost=metrics.readahead_wasted.inc,
                on_recovered=metrics.readahead_recovered.inc,
            ),
            generations=self.generations,
            metrics=metrics,
            tasks=self.tasks,
            clock=self._clock,
            access_log=await open_access_log(config.log, metrics, self.tasks, self._stack),
            giving=Giving(),
            accounts=self.accounts,
        )
        self._service = Service(config, self._lasting)
        self._stack.push_async_callback(lambda: self._service.close())
        self.tasks.spawn(self._tell_uses(), name="tell-uses")
        purger = Purger(self.catalog, self.store, metrics)
        self.tasks.spawn(purger.run(), name="purger")
        self.admin = Admin(
            metrics,
            self.store,
            self._service.origins,
            purger,
            self._service.warming.answer,
            self._service.explainer,
            cache_dir=config.cache.dir,
            token=config.admin.token.get_secret_value(),
            problems=self._problems,
        )
        self.generations.renew()
        await self._listen(number)

    async def _tell_uses(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            self._service.tell_uses()
            await self.catalog.tell_rows()

    def _problems(self) -> list[str]:
        return self._shared.states.problems(time.monotonic()) if self._shared else []

    async def _listen(self, number: int) -> None:
        listen, admin = self.config.listen, self.config.admin
        self._admin_runner = web.AppRunner(
            self.admin.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await self._admin_runner.setup()
        self._stack.push_async_callback(self._admin_runner.cleanup)
        bound = self._admin_listener or bind(admin.host, admin.port, section="admin")
        self.admin_url = await accept_on(self._admin_runner, bound)
        self._public = self._public_server()
        self._use(self._service, number)
        # aiohttp waits that long twice: for answers to end, then for what it cancelled.
        runner = web.ServerRunner(
            self._public, handle_signals=False, shutdown_timeout=listen.drain_timeout / 2
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        if self._listener is not None:
            await RelaySite(runner, self._listener).start()
        else:
            bound = bind(listen.host, listen.port, section="listen")
            self.url = await accept_on(runner, bound, self._tls)

    def _public_server(self) -> HttpServer | RelayedServer:
        if self._listener is not None:
            return RelayedServer(self.config.listen, self.metrics, self._on_message)
        return HttpServer(self.config.listen, self.metrics)

    def _use(self, service: Service, number: int) -> None:
        self._service = service
        self._public.use(service.delivery.handle, service.fast)
        if self._shared:
            self._shared.config[0] = number

    def _on_message(self, path: str, data: bytes) -> None:
        """What a worker tells."""
        match path:
            case "/uses":
                for key, count in read_uses(data):
                    self.store.used(key, count)
                    self._lasting.readahead.serve(key)
            case "/given":
                self.accounts.gave(read_given(data), self._clock())
            case _:
                pass  # of a worker that is newer

    async def reload(self, config: Config, number: int = 0) -> None:
        """Answer by another config from now on; running answers end by the old one.

        :raises ConfigError: it cannot be: all stays as it was.
        """
        if self._tls is not None and config.listen.tls.cert is not None:
            load_certificate(self._tls, config.listen.tls)
        self.metrics.reload(config.costs, [route.path for route in config.routes])
        replaced, service = self._service, Service(config, self._lasting)
        self.config = config
        self.store.admission = admission(config)
        self.catalog.forget()
        self.admin.use(
            service.origins,
            service.warming.answer,
            service.explainer,
            config.admin.token.get_secret_value(),
        )
        self._use(service, number)
        self.tasks.spawn(replaced.retire(RETIREMENT), name="retire")

    async def close(self) -> None:
        """Drains: no new connections, running answers end within `listen.drain_timeout`."""
        self.admin.draining = True
        await self._stack.aclose()


async def start(config: Config) -> Server:
    """A server that listens: close it in the end."""
    server = Server(config)
    await server.start()
    return server
