"""`edgecache demo`: the product at work, with no credentials and no network."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from edgecache.cli.serve import complain, loop_factory
from edgecache.cli.stopping import INTERRUPTED, stop_on_signal
from edgecache.core.errors import ConfigError, EdgecacheError

if TYPE_CHECKING:
    from rich.console import Console

    from edgecache.demo.stats import Outcome
    from edgecache.web.app import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    port: int
    browser_hint: bool
    once: bool
    as_json: bool


def demo(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Public port, or the next free one; 0: any.")
    ] = 8080,
    no_browser_hint: Annotated[
        bool, typer.Option("--no-browser-hint", help="Leave out what a browser is needed for.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Exit after the table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Figures and URLs as a JSON line.")] = False,
) -> None:
    """See it work: an embedded S3, sample images and videos, a visit, and what it saved.

    Example: edgecache demo --port 8081
    """
    options = Options(port=port, browser_hint=not no_browser_hint, once=once, as_json=json)
    shown = False
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            shown = runner.run(until_stopped(options))
    except EdgecacheError as error:
        complain(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
    except KeyboardInterrupt:
        pass  # so early that nobody listened for it yet
    if not shown:
        raise typer.Exit(INTERRUPTED)


async def until_stopped(options: Options) -> bool:
    """Whether the table was shown before SIGINT or SIGTERM came."""
    # Imported here: the other commands need none of it.
    from rich.console import Console

    from edgecache.demo.samples import load
    from edgecache.demo.stage import replay, stage

    console = Console(stderr=options.as_json, highlight=False)
    stop = stop_on_signal(lambda: console.print("Stopping ..."))
    shown = False
    try:
        objects = load()
        async with AsyncExitStack() as stack:
            with waiting(console, "Starting an embedded S3 and edgecache ..."):
                server = await stack.enter_async_context(stage(objects, port=options.port))
            announce(console, options, server, objects)
            present(console, options, server, await replay(console, server, objects))
            shown = True
            if not options.once:
                console.print("Ctrl-C ends it.")
                await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    return shown


def waiting(console: "Console", what: str) -> AbstractContextManager[object]:
    """A spinner, or a line where nobody could see it turn."""
    if console.is_terminal:
        return console.status(what)
    console.print(what)
    return nullcontext()


def announce(
    console: "Console", options: Options, server: "Server", objects: Mapping[str, bytes]
) -> None:
    port = server.config.listen.port
    taken = f" (port {options.port} is taken)" if options.port not in (0, port) else ""
    count = f"{len(objects)} objects, {sum(map(len, objects.values())) / 1e6:.1f} MB"
    console.print(f"A private bucket ({count}) is served at {server.url}{taken}\n", soft_wrap=True)


def present(console: "Console", options: Options, server: "Server", outcome: "Outcome") -> None:
    from edgecache.demo import report

    urls = report.urls(server.url, server.admin_url)
    if options.as_json:
        typer.echo(report.as_json(outcome, urls))
        return
    console.print(report.table(outcome))
    console.print(report.summary(outcome.totals, server.config.costs.app_platform))
    if not options.once:
        console.print(report.links(urls, browser=options.browser_hint), soft_wrap=True)
