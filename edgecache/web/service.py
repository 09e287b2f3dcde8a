"""What a config decides of the keeper's answers, wired. Rule: all of it is replaced when the config
is; what outlives a config is given."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from edgecache.catalog import Catalog
from edgecache.config import Config
from edgecache.core.accounts import Accounts, Giving
from edgecache.core.model import SliceKey
from edgecache.core.plan import RunSizes
from edgecache.core.readahead import AheadLimits
from edgecache.engine import Engine
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.hits import Hits
from edgecache.lookup import Lookup
from edgecache.metrics import Metrics
from edgecache.origins import Origins
from edgecache.passthrough import Passthrough
from edgecache.readahead import Readahead
from edgecache.store import SliceStore
from edgecache.stream import Streams
from edgecache.tasks import Tasks
from edgecache.upstream import S3Upstream
from edgecache.warm import Warmer
from edgecache.web.accesslog import AccessLog
from edgecache.web.delivery import Delivery
from edgecache.web.explaining import Explainer
from edgecache.web.fast import FastPath
from edgecache.web.hot import HotTable
from edgecache.web.own_head import OwnHead
from edgecache.web.routing import Router
from edgecache.web.warming import Warming

# Between two looks at whether a replaced service has ended its answers.
LOOK_EVERY = 1.0
# Memory for what is fetched ahead, of all readers. Each fill has a slice that comes in, and one on
# its way to the disk.
AHEAD_MEMORY = 2**25
SLICES_EACH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """What a server has as long as it runs."""

    store: SliceStore
    catalog: Catalog
    fills: FillTable
    readahead: Readahead
    generations: Generations
    metrics: Metrics
    tasks: Tasks
    clock: Callable[[], float]
    access_log: AccessLog | None
    giving: Giving
    accounts: Accounts


def run_sizes(config: Config) -> RunSizes:
    return RunSizes(
        slice_size=config.cache.slice_size,
        first_run=config.fetch.first_run,
        image_run=config.fetch.image_run,
        max_run=config.fetch.max_run,
    )


class Service:
    def __init__(self, config: Config, lasting: Lasting) -> None:
        self._store = lasting.store
        self._accounts, self._clock = lasting.accounts, lasting.clock
        self._giving = lasting.giving
        upstreams = {
            name: S3Upstream(origin, config.fetch, clock=lasting.clock)
            for name, origin in config.origins.items()
        }
        self.origins = Origins(
            upstreams,
            lasting.metrics,
            lasting.accounts,
            fetch=config.fetch,
            connections={name: origin.connections for name, origin in config.origins.items()},
        )
        router = Router(config)
        catalog, tasks = lasting.catalog, lasting.tasks
        lasting.readahead.use(ahead_limits(config))
        streams = Streams(
            lasting.store,
            lasting.fills,
            self.origins,
            catalog,
            run_sizes(config),
            tasks,
            lasting.readahead,
        )
        lookup = Lookup(
            catalog,
            self.origins,
            streams,
            tasks,
            negative_ttl=config.freshness.negative_ttl,
            settle=config.fetch.settle,
        )
        engine = Engine(
            catalog,
            lookup,
            streams,
            Passthrough(lookup, lasting.metrics),
            lasting.metrics,
            token=lambda: secrets.token_hex(16),
        )
        warmer = Warmer(catalog, lookup, streams, lasting.store, self.origins)
        self.warming = Warming(warmer, router.find, self.origins.names)
        self.explainer = Explainer(
            router,
            store=lasting.store,
            catalog=lasting.catalog,
            fills=lasting.fills,
            accounts=lasting.accounts,
            slice_size=config.cache.slice_size,
            refresh=self.tell_uses,
        )
        self._deliver(config, lasting, router, engine)

    def _deliver(self, config: Config, lasting: Lasting, router: Router, engine: Engine) -> None:
        own_head = OwnHead(config.cors.allow_origins)
        self.delivery = Delivery(
            engine.answer,
            router,
            lasting.metrics,
            cors=config.cors,
            own_head=own_head,
            write_timeout=config.listen.write_timeout,
            clock=lasting.clock,
            access_log=lasting.access_log,
            on_given=self._giving.add,
        )
        self.hot = HotTable(
            lasting.generations,
            own_head,
            limit=config.cache.hot_size,
            largest_body=config.cache.hot_object,
        )
        self.fast = FastPath(
            Hits(
                lasting.catalog.hit,
                lasting.store.opened,
                clock=lasting.clock,
                slice_size=config.cache.slice_size,
                on_hit=self._giving.add,
            ),
            router,
            lasting.metrics,
            hot=self.hot,
            own_head=own_head,
            clock=lasting.clock,
            access_log=lasting.access_log,
        )

    def tell_uses(self) -> None:
        """Hot objects count as used, and what was given is in the accounts."""
        for stored, count in self.hot.uses():
            self._store.used(SliceKey(stored.version, 0), count)
            self._giving.add(stored.meta.key, count * stored.meta.length, count, count)
        self._accounts.gave(self._giving.take(), self._clock())

    async def close(self) -> None:
        await self.origins.close()

    async def retire(self, patience: float) -> None:
        """Close once all that runs has ended, in `patience` seconds at most."""
        try:
            for _ in range(int(patience / LOOK_EVERY)):
                if not (self.delivery.running or self.warming.running or self.origins.reading):
                    break
                await asyncio.sleep(LOOK_EVERY)
        finally:  # the server may end first
            await self.close()


def ahead_limits(config: Config) -> AheadLimits:
    """Most of the origin's connections, and of the memory, are for what readers have come to."""
    fetch, size = config.fetch, config.cache.slice_size
    return AheadLimits(
        slice_size=size,
        slices=fetch.readahead // size,
        connections=fetch.readahead_connections,
        fills=max(1, min(fetch.connections // 4, AHEAD_MEMORY // (SLICES_EACH * size))),
        waste=fetch.waste,
    )
