"""`edgecache warm`: has a running server fetch what viewers will ask for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgecache.cli.admin_client import admin_client, complaining
from edgecache.cli.stopping import INTERRUPTED, stop_on_signal
from edgecache.cli.warm_drive import Drive, Item
from edgecache.config import Config, load
from edgecache.core.errors import ConfigError
from edgecache.core.units import parse_size


class By(StrEnum):
    REQUESTS = "requests"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where what is to be warmed is written: in one of the first three places."""

    keys: list[str]
    from_file: Path | None
    prefix: str | None
    log: Path | None
    whole: bool
    by: By
    most: int | None
    origin: str | None

    @property
    def is_one(self) -> bool:
        given = (self.keys or self.from_file, self.prefix is not None, self.log)
        return sum(map(bool, given)) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """`total` None: nobody knows before the end."""

    items: AsyncIterator[Item]
    total: int | None
    notes: list[str]


def warm(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys, as in the bucket.")] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="A file with a key a line; -: standard input.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help='All that the bucket lists under it; "": everything.')
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="An access log, edgecache's or nginx's: what was sent of each object."),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Of a log: the objects whole.")] = False,
    by: Annotated[By, typer.Option(help="Of a log: which objects are first.")] = By.REQUESTS,
    most: Annotated[int | None, typer.Option(min=1, help="Of a log: the first so many.")] = None,
    origin: Annotated[
        str | None, typer.Option(help="The origin's name in the config; else the key's route says.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Objects at a time.")] = 8,
    rate: Annotated[str, typer.Option(help="Bytes a second at most: 20MB; 0: any.")] = "0",
    evict: Annotated[
        bool, typer.Option("--evict", help="Also evict what is there; else a full cache stays.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="The running server's settings, found as serve does.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as a JSON line.")] = False,
) -> None:
    """Fetch objects into the cache before viewers ask for them, behind what viewers ask for.

    What is there and fresh is skipped: stop it with Ctrl-C, run it again, and it goes on.

    Example: edgecache warm --prefix outputs/2026/ --rate 20MB
    """
    source = Source(
        keys=keys or [],
        from_file=from_file,
        prefix=prefix,
        log=log,
        whole=whole,
        by=by,
        most=most,
        origin=origin,
    )
    with complaining():
        if not source.is_one:
            raise ConfigError("say what to warm: keys (or --from), or --prefix, or --log")
        client = admin_client(config)
        drive = Drive(client.post, concurrency=concurrency, rate=rate_of(rate), evict=evict)
        work = work_of(source, load(config))
        began = time.monotonic()
        ended = asyncio.run(until_stopped(drive, work))
    report(drive, time.monotonic() - began, ended=ended, as_json=as_json)
    if not (ended and drive.totals.complete):
        raise typer.Exit(1 if ended else INTERRUPTED)


def rate_of(text: str) -> int:
    """:raises ConfigError: it is not a size."""
    try:
        return int(str(parse_size(text)))
    except ValueError as error:
        raise ConfigError(f"--rate: {error}") from None


def work_of(source: Source, settings: Config) -> Work:
    # Imported here: the other commands need none of it.
    from edgecache.cli import warm_items

    if source.prefix is not None:
        origin = warm_items.origin_of(source.prefix, settings, source.origin)
        items = warm_items.from_prefix(source.prefix, settings, origin)
        return Work(items=items, total=None, notes=[])
    notes: list[str] = []
    if source.log is not None:
        found, notes = warm_items.from_log(
            source.log, settings, whole=source.whole, by=source.by, most=source.most
        )
    else:
        found = warm_items.from_keys(source.keys, source.from_file, source.origin)
    return Work(items=warm_items.given(found), total=len(found), notes=notes)


async def until_stopped(drive: Drive, work: Work) -> bool:
    """Whether it came to its end before SIGINT or SIGTERM."""
    from rich.console import Console

    from edgecache.cli.warm_show import progress

    console = Console(stderr=True, highlight=False, markup=False)
    stop = stop_on_signal(lambda: console.print("Stopping ..."))
    for note in work.notes:
        console.print(note, soft_wrap=True)
    try:
        with progress(console, work.total) as show:
            await drive.run(work.items, show)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    return not stop.is_set()


def report(drive: Drive, seconds: float, *, ended: bool, as_json: bool) -> None:
    from edgecache.cli.warm_show import summary

    totals = drive.totals
    if not as_json:
        for line in summary(totals, seconds):
            typer.echo(line)
        return
    figures = {
        "objects": totals.objects,
        "results": dict(totals.results),
        "bytes": totals.bytes,
        "seconds": round(seconds, 3),
        "complete": ended and totals.complete,
        "not_warmed": totals.failed,
    }
    typer.echo(json.dumps(figures))
