"""`edgecache serve`: until SIGTERM, which drains."""

import asyncio
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer

from edgecache.config import Config, load
from edgecache.core.errors import ConfigError, EdgecacheError


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
        status = run(settings, config)
    except EdgecacheError as error:
        complain(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    raise typer.Exit(status)


def complain(error: EdgecacheError) -> None:
    for line in error.message.splitlines():
        typer.echo(f"edgecache: {line}", err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


def run(settings: Config, config: Path | None) -> int:
    # Imported here, so that a wrong config is told before a second of imports.
    from edgecache.processes import Processes

    return Processes(settings, partial(load, config), loop_factory()).run()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop
