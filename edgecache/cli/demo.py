"""`edgecache demo`: the product at work, with no credentials and no network."""

from typing import Annotated

import typer

from edgecache.cli.serve import complain, loop_factory
from edgecache.core.errors import ConfigError, EdgecacheError

INTERRUPTED = 130  # as shells say it: 128 + SIGINT


def demo(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Public port, or the next free one; 0: any.")
    ] = 8080,
    no_browser_hint: Annotated[
        bool, typer.Option("--no-browser-hint", help="Show only what a terminal can use.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Exit after the table.")] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the figures and URLs as one line of JSON.")
    ] = False,
) -> None:
    """Try edgecache: an embedded S3, sample images and videos, and a visit that shows what it saves.

    Example: edgecache demo --port 8081
    """
    # Imported here: the other commands need none of it.
    import asyncio

    from edgecache.demo.show import Show

    show = Show(port=port, browser_hint=not no_browser_hint, once=once, as_json=json_)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            finished = runner.run(show.run())
    except EdgecacheError as error:
        complain(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    except KeyboardInterrupt:  # before the loop listened for it
        finished = False
    if not finished:
        raise typer.Exit(INTERRUPTED)
