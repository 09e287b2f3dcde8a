"""The wiring: the one place where concrete classes are named, and the order of start and end."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiohttp import web

from edgecache.catalog import Catalog
from edgecache.config import Config
from edgecache.core.accesslog import AccessEntry, format_combined, format_json
from edgecache.core.errors import ConfigError
from edgecache.core.model import SliceKey
from edgecache.core.plan import RunSizes
from edgecache.engine import Engine
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.hits import Hits
from edgecache.lookup import Lookup
from edgecache.metrics import Metrics
from edgecache.origins import Origins
from edgecache.passthrough import Passthrough
from edgecache.store import SliceStore
from edgecache.store.disk import DiskStore
from edgecache.stream import Streams
from edgecache.tasks import Tasks
from edgecache.upstream import S3Upstream
from edgecache.web.accesslog import LineWriter
from edgecache.web.admin import Admin
from edgecache.web.delivery import Delivery
from edgecache.web.fast import FastPath
from edgecache.web.hot import HotTable
from edgecache.web.own_head import OwnHead
from edgecache.web.protocol import HttpServer, require_c_parser
from edgecache.web.routing import Router

TELL_EVERY = 1.0


class Server:
    """A running edgecache: `url` and `admin_url` say where."""

    def __init__(
        self,
        config: Config,
        *,
        store: SliceStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self._given_store = store
        self._clock = clock
        self.url = ""
        self.admin_url = ""
        self.metrics = Metrics(config.costs, [route.path for route in config.routes])
        self.tasks = Tasks()
        self.generations = Generations()
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """:raises ConfigError: a port is taken; StoreError: the folder is in use."""
        require_c_parser()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        config, metrics = self.config, self.metrics
        store = self.store = self._given_store or DiskStore(
            config.cache.dir,
            limit=config.cache.size,
            slice_size=config.cache.slice_size,
            on_removal=metrics.removed,
        )
        await store.start()
        self._stack.push_async_callback(store.close)
        self._stack.push_async_callback(self.tasks.close)
        upstreams = {
            name: S3Upstream(origin, config.fetch, clock=self._clock)
            for name, origin in config.origins.items()
        }
        origins = Origins(upstreams, metrics)
        self._stack.push_async_callback(origins.close)
        self._public = await self._public_server(self._engine(store, origins), store)
        self.admin = Admin(
            metrics,
            store,
            origins,
            self.catalog,
            cache_dir=config.cache.dir,
            token=config.admin.token.get_secret_value(),
        )
        await self._listen()

    def _engine(self, store: SliceStore, origins: Origins) -> Engine:
        config, metrics, tasks = self.config, self.metrics, self.tasks
        size = config.cache.slice_size
        fills = FillTable(tasks, on_end=lambda end: metrics.fills.labels(end).inc())
        metrics.fills_active.set_function(lambda: len(fills))
        catalog = self.catalog = Catalog(
            store,
            tasks,
            metrics,
            fills,
            generations=self.generations,
            clock=self._clock,
            slice_size=size,
        )
        sizes = RunSizes(
            slice_size=size,
            first_run=config.fetch.first_run,
            image_run=config.fetch.image_run,
            max_run=config.fetch.max_run,
        )
        streams = Streams(store, fills, origins, catalog, sizes, tasks)
        lookup = Lookup(
            catalog, origins, streams, tasks, negative_ttl=config.freshness.negative_ttl
        )
        return Engine(
            catalog,
            lookup,
            streams,
            Passthrough(lookup),
            metrics,
            token=lambda: secrets.token_hex(16),
        )

    async def _public_server(self, engine: Engine, store: SliceStore) -> HttpServer:
        config, metrics, clock = self.config, self.metrics, self._clock
        writer = await self._open_access_log()
        record = recorder(config.log.access, writer) if writer else None
        router, own_head = Router(config), OwnHead(config.cors.allow_origins)
        delivery = Delivery(
            engine,
            router,
            metrics,
            cors=config.cors,
            own_head=own_head,
            write_timeout=config.listen.write_timeout,
            clock=clock,
            record=record,
        )
        hot = HotTable(
            self.generations,
            own_head,
            limit=config.cache.hot_size,
            largest_body=config.cache.hot_object,
        )
        self.tasks.spawn(self._tell_uses(hot, store), name="tell-uses")
        hits = Hits(self.catalog.hit, store.opened, clock=clock, slice_size=config.cache.slice_size)
        fast = FastPath(
            hits, router, metrics, hot=hot, own_head=own_head, clock=clock, record=record
        )
        return HttpServer(delivery.handle, config.listen, metrics, fast)

    async def _tell_uses(self, hot: HotTable, store: SliceStore) -> None:
        """Hot objects count as used, a second later."""
        while True:
            await asyncio.sleep(TELL_EVERY)
            for stored, count in hot.uses():
                store.used(SliceKey(stored.version, 0), count)

    async def _open_access_log(self) -> LineWriter | None:
        if self.config.log.access == "off":
            return None
        writer = LineWriter(self.config.log.access_file, self.metrics)
        try:
            writer.open()
        except OSError as error:
            raise ConfigError(f"log.access_file: {error}") from error
        self._stack.push_async_callback(writer.close)
        self.tasks.spawn(writer.run(), name="access-log")
        return writer

    async def _listen(self) -> None:
        listen, admin = self.config.listen, self.config.admin
        self._admin_runner = web.AppRunner(
            self.admin.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await self._admin_runner.setup()
        self._stack.push_async_callback(self._admin_runner.cleanup)
        self.admin_url = await open_site(self._admin_runner, admin.host, admin.port, "admin")
        # aiohttp waits that long twice: for answers to end, then for what it cancelled.
        self._runner = web.ServerRunner(
            self._public, handle_signals=False, shutdown_timeout=listen.drain_timeout / 2
        )
        await self._runner.setup()
        self._stack.push_async_callback(self._runner.cleanup)
        self.url = await open_site(self._runner, listen.host, listen.port, "listen")

    async def close(self) -> None:
        """Drains: no new connections, running answers end within `listen.drain_timeout`."""
        self.admin.draining = True
        await self._stack.aclose()


def recorder(style: str, writer: LineWriter) -> Callable[[AccessEntry], None]:
    form = format_json if style == "json" else format_combined
    return lambda entry: writer.add(form(entry))


async def open_site(runner: web.BaseRunner, host: str, port: int, section: str) -> str:
    """Listens, and says where: the port that was chosen where 0 was asked for."""
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        raise ConfigError(f"{section}: cannot listen on {host}:{port}: {error.strerror}") from error
    chosen = runner.addresses[-1][1]
    name = "127.0.0.1" if host in ("0.0.0.0", "", "::") else host  # noqa: S104
    return f"http://[{name}]:{chosen}" if ":" in name else f"http://{name}:{chosen}"


async def start(config: Config) -> Server:
    """A server that listens: close it in the end."""
    server = Server(config)
    await server.start()
    return server
