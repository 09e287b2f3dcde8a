"""`edgecache serve`: until SIGTERM, which drains."""

import asyncio
import logging
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from edgecache.config import Config, load
from edgecache.core.errors import ConfigError, EdgecacheError, StoreError
from edgecache.memory import keep_freed_memory, uncollected

log = logging.getLogger("edgecache.serve")

# Enough for listen.max_connections and all open slices; some containers allow a billion.
MOST_DESCRIPTORS = 2**16


def serve(
    config: Path = typer.Option(  # noqa: B008  # typer's way to declare an option
        None,
        help="Settings; else $EDGECACHE_CONFIG, else ./config.yaml, else RUNPOD_S3_* alone.",
        show_default=False,
    ),
) -> None:
    """Serve the bucket.

    Example: edgecache serve --config /etc/edgecache/config.yaml
    """
    try:
        settings = load(config)
        logging.basicConfig(
            level=settings.log.level.upper(),
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
            stream=sys.stderr,
        )
        run(settings)
    except (ConfigError, StoreError) as error:
        complain(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None


def complain(error: EdgecacheError) -> None:
    for line in error.message.splitlines():
        typer.echo(f"edgecache: {line}", err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


def run(settings: Config) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(until_stopped(settings))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


def raise_descriptor_limit() -> None:
    """Soft to hard: open slices and connections need many, and only select() minds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def until_stopped(settings: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keep_freed_memory()
    raise_descriptor_limit()
    with uncollected():
        # Imported here, so that a wrong config is told before a second of imports.
        from edgecache.web.app import start

        server = await start(settings)
    log.info("serving url=%s admin=%s", server.url, server.admin_url)
    await stop.wait()
    log.info("draining for at most %gs", settings.listen.drain_timeout)
    await server.close()
    log.info("stopped")
