"""One process that serves: its loop, from the start to the drained end, with reloads between.

Rule of this module: what happens to a process is an event, dealt with one after the other.
"""

import asyncio
import logging
import math
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from edgecache.config import Config
from edgecache.core.errors import ConfigError, StoreError
from edgecache.memory import keep_freed_memory, uncollected
from edgecache.supervisor import Child, Notifier

log = logging.getLogger("edgecache.serve")

LoopFactory = Callable[[], asyncio.AbstractEventLoop] | None
# The number of a config to go by from now on; None: drain.
Events = asyncio.Queue[int | None]


class Serving(Protocol):
    async def start(self, number: int = 0) -> None: ...

    async def reload(self, config: Config, number: int) -> None: ...

    async def close(self) -> None: ...


async def live(
    serving: Serving,
    number: int,
    events: Events,
    *,
    on_ready: Callable[[], None],
    reload: Callable[[int], Awaitable[None]],
) -> None:
    with uncollected():
        await serving.start(number)
    on_ready()
    while (event := await events.get()) is not None:
        await reload(event)
    await serving.close()


def run(living: Callable[[Events], Awaitable[None]], loop_factory: LoopFactory) -> None:
    async def main() -> None:
        await living(asyncio.Queue())

    keep_freed_memory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


async def live_alone(
    serving: Serving,
    events: Events,
    *,
    on_ready: Callable[[], None],
    read: Callable[[], Config | None],
    drain_timeout: float,
) -> None:
    """The only process: SIGHUP reloads, SIGTERM and SIGINT drain, a second one ends at once."""
    loop = asyncio.get_running_loop()
    notifier = Notifier.from_environment(os.environ)
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            log.warning("stopped at once")
            signal.raise_signal(signal.SIGKILL)
        stopping = True
        notifier.stopping()
        log.info("draining for at most %gs", drain_timeout)
        events.put_nowait(None)

    def ready() -> None:
        on_ready()
        notifier.ready()
        beat()

    def beat() -> None:
        if notifier.due < math.inf:
            notifier.beat(loop.time())
            loop.call_at(notifier.due, beat)

    async def reload(_: int) -> None:
        notifier.reloading(loop.time())
        if (config := read()) is not None:
            try:
                await serving.reload(config, 0)
            except ConfigError as error:
                log.error("reload: the config is kept as it was: %s", error)
            else:
                log.info("reloaded")
        notifier.ready()

    loop.add_signal_handler(signal.SIGHUP, events.put_nowait, 0)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop)
    await live(serving, 0, events, on_ready=ready, reload=reload)
    log.info("stopped")


async def live_as_child(
    serving: Serving, number: int, events: Events, *, child: Child, read: Callable[[], Config]
) -> None:
    """:raises ConfigError: it can't go by what is configured now: forked anew it can."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, events.put_nowait, None)

    def hear() -> None:
        try:
            for message in child.messages():
                events.put_nowait(int(message))
        except EOFError:  # the parent is gone
            loop.remove_reader(child.control)
            events.put_nowait(None)

    async def reload(number: int) -> None:
        await serving.reload(read(), number)
        child.answer()

    loop.add_reader(child.control, hear)
    await live(serving, number, events, on_ready=child.ready, reload=reload)


def serve_as_child(
    child: Child,
    make: Callable[[], Serving],
    number: int,
    read: Callable[[], Config],
    loop_factory: LoopFactory,
) -> int:
    """The exit status."""
    try:
        run(lambda e: live_as_child(make(), number, e, child=child, read=read), loop_factory)
    except (ConfigError, StoreError) as error:
        log.error("%s ends: %s %s", child.name, error, error.hint)
        return 1
    return 0
