"""A worker, wired: answers what is fresh and there, has the keeper answer everything else."""

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from ssl import SSLContext

from aiohttp import web

from edgecache.board import Board
from edgecache.config import Config
from edgecache.core.accounts import Giving
from edgecache.core.errors import EdgecacheError, VersionChanged
from edgecache.core.index import StoredResponse
from edgecache.core.model import ByteSpan, SliceKey
from edgecache.core.ranges import format_content_range
from edgecache.generations import Generations
from edgecache.hits import Hits
from edgecache.local import Local
from edgecache.metrics import Metrics
from edgecache.shared import Shared
from edgecache.shelf import Shelf
from edgecache.store import Bytes
from edgecache.store.disk import most_open
from edgecache.store.reader import ReadStore
from edgecache.tasks import Tasks
from edgecache.uses import write_given, write_uses
from edgecache.web.accesslog import open_access_log
from edgecache.web.delivery import Delivery
from edgecache.web.fast import FastPath
from edgecache.web.hot import HotTable
from edgecache.web.listening import accept_on, load_certificate
from edgecache.web.own_head import OwnHead
from edgecache.web.peer import reading
from edgecache.web.protocol import HttpServer, require_c_parser
from edgecache.web.relay import Relay
from edgecache.web.routing import Router
from edgecache.web.worker_delivery import WorkerDelivery

log = logging.getLogger("edgecache.serve")

# How often what was removed is let go of, and what was used is told.
RELEASE_EVERY = 0.25
TELL_EVERY = 1.0


class Worker:
    """`url` says where it listens."""

    def __init__(
        self,
        config: Config,
        *,
        shared: Shared,
        index: int,
        listener: socket.socket,
        keeper: Path,
        tls: SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`index` is its place among the processes, `keeper` the keeper's socket."""
        self.config = config
        self.url = ""
        self.tasks = Tasks()
        self._shared = shared
        self._giving = Giving()
        self._clock = clock
        self._listener = listener
        self._tls = tls
        routes = [route.path for route in config.routes]
        self.metrics = Metrics(config.costs, routes, Board(shared.boards[index]))
        self._generations = Generations(shared.generations)
        self.store = ReadStore(
            config.cache.dir, slice_size=config.cache.slice_size, most_open=most_open()
        )
        listen = config.listen
        self._relay = Relay(
            keeper, patience=listen.keeper_timeout, write_timeout=listen.write_timeout
        )
        self._public = HttpServer(listen, self.metrics)
        self._stack = AsyncExitStack()

    async def start(self, number: int = 0) -> None:
        """`number` is the config's."""
        require_c_parser()
        self._stack.push_async_callback(self.store.close)
        self._stack.push_async_callback(self.tasks.close)
        self._stack.push_async_callback(self._relay.close)
        self._stack.push_async_callback(self._tell_uses)
        self._access_log = await open_access_log(
            self.config.log, self.metrics, self.tasks, self._stack
        )
        self._use(self.config, number)
        self.tasks.spawn(self._release(), name="release")
        self.tasks.spawn(self._tell(), name="tell-uses")
        runner = web.ServerRunner(
            self._public,
            handle_signals=False,
            shutdown_timeout=self.config.listen.drain_timeout / 2,
        )
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self.url = await accept_on(runner, self._listener, self._tls)

    def _use(self, config: Config, number: int) -> None:
        router, own_head = Router(config), OwnHead(config.cors.allow_origins)
        shelf = Shelf(self.store, self._generations, clock=self._clock)
        size = config.cache.slice_size
        self._hot = HotTable(
            self._generations,
            own_head,
            limit=config.cache.hot_size,
            largest_body=config.cache.hot_object,
        )

        def is_current() -> bool:
            return self._shared.config[0] == number

        local = Local(
            shelf,
            self.store,
            Rest(self._relay, router).read,
            slice_size=size,
            token=lambda: secrets.token_hex(16),
        )
        delivery = Delivery(
            local.answer,
            router,
            self.metrics,
            cors=config.cors,
            own_head=own_head,
            write_timeout=config.listen.write_timeout,
            clock=self._clock,
            access_log=self._access_log,
            on_given=self._giving.add,
        )
        fast = FastPath(
            Hits(
                shelf.hit,
                self.store.opened,
                clock=self._clock,
                slice_size=size,
                on_hit=self._giving.add,
            ),
            router,
            self.metrics,
            hot=self._hot,
            own_head=own_head,
            clock=self._clock,
            access_log=self._access_log,
            is_current=is_current,
        )
        handler = WorkerDelivery(delivery, self._relay, is_current=is_current)
        self._public.use(handler.handle, fast)

    async def reload(self, config: Config, number: int) -> None:
        """:raises ConfigError: the certificate can't be read."""
        if self._tls is not None and config.listen.tls.cert is not None:
            load_certificate(self._tls, config.listen.tls)
        self._use(config, number)

    async def _release(self) -> None:
        seen = -1
        while True:
            await asyncio.sleep(RELEASE_EVERY)
            if (removals := self._shared.removals[0]) != seen:
                await self.store.release()
                seen = removals

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            await self._tell_uses()

    async def _tell_uses(self) -> None:
        for stored, count in self._hot.uses():
            self.store.used(SliceKey(stored.version, 0), count)
            self._giving.add(stored.meta.key, count * stored.meta.length, count, count)
        with suppress(EdgecacheError):  # the keeper is away: what was used lately is forgotten
            if uses := self.store.uses():
                await self._relay.tell("/uses", write_uses(uses))
            if given := self._giving.take():
                await self._relay.tell("/given", write_given(given))

    async def close(self) -> None:
        """Drains: no new connections, running answers end within `listen.drain_timeout`."""
        await self._stack.aclose()


class Rest:
    """Bytes that were here when the answer began, from the keeper."""

    def __init__(self, relay: Relay, router: Router) -> None:
        self._relay = relay
        self._router = router

    async def read(self, stored: StoredResponse, span: ByteSpan) -> AsyncGenerator[Bytes, None]:
        """:raises EdgecacheError: they can't be had, of this version."""
        fields = [
            ("Range", f"bytes={span.start}-{span.stop - 1}"),
            ("If-Match", stored.meta.etag),
            ("If-Range", stored.meta.etag),
        ]
        target = self._router.target(stored.meta.key)
        status, headers, body = await self._relay.fetch(target, fields, reading(stored.version))
        async with aclosing(body):
            expected = format_content_range(span, stored.meta.length)
            same = headers.get("ETag", "") == stored.meta.etag
            if status != 206 or headers.get("Content-Range") != expected or not same:
                raise VersionChanged("the object was replaced while it was read")
            async for data in body:
                yield data
