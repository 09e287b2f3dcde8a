"""`edgecache verify`: reads every slice of the cache folder, with a server running or without one.

Rule of this module: damaged slices of a running server are removed by that server, which then also
sees to it that no process of it still has them open; only where there is none, by this command.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecache.cli.admin_client import admin_client, complaining
from edgecache.config import Config, load
from edgecache.core.errors import StoreError
from edgecache.core.units import format_size

if TYPE_CHECKING:
    from edgecache.store.verifying import Damage, Report, Verification

# Damaged slices that are named; further ones are only counted.
MOST_NAMED = 1000
REDRAW = 0.1  # seconds

Repair = Callable[["Damage"], bool]


def verify(
    config: Annotated[
        Path | None, typer.Option(help="The server's settings, as for serve.", show_default=False)
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Remove what is damaged.")] = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Slices to read at one time.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Counts and damage, as JSON.")] = False,
) -> None:
    """Read every slice on disk and check its length, identity and checksum.

    Exits with 1 if a damaged one is left. A server may run meanwhile.

    Example: edgecache verify --repair
    """
    with complaining():
        findings = Findings()
        with ExitStack() as stack:
            settings = load(config)
            verification = stack.enter_context(closing(of(settings, threads)))
            if repair:
                findings.repair = stack.enter_context(repairer(settings, config))
            progress = stack.enter_context(shown(verification.expected()[1]))
            began = time.monotonic()
            report = verification.run(findings.add, progress)
            seconds = time.monotonic() - began
    if as_json:
        typer.echo(json.dumps(findings.facts(report, seconds), indent=2))
    else:
        typer.echo("\n".join(findings.lines(report, seconds)))
    if report.damaged > findings.removed:
        raise typer.Exit(1)


def of(settings: Config, threads: int) -> "Verification":
    # Imported here, as in all commands: --help needs none of it.
    from edgecache.store.verifying import Verification

    cache = settings.cache
    return Verification(cache.dir, slice_size=cache.slice_size, threads=threads)


class Findings:
    def __init__(self) -> None:
        self.repair: Repair = lambda _: False
        self.removed = 0
        self._named: list[tuple[Damage, bool]] = []

    def add(self, damage: "Damage") -> None:
        done = self.repair(damage)
        self.removed += done
        if len(self._named) < MOST_NAMED:
            self._named.append((damage, done))

    def facts(self, report: "Report", seconds: float) -> dict[str, Any]:
        return asdict(report) | {
            "removed": self.removed,
            "seconds": round(seconds, 3),
            "bytes_per_second": round(report.bytes / seconds),
            "damage": [
                {
                    "key": damage.object and damage.object.key,
                    "origin": damage.object and damage.object.origin,
                    "slice": damage.slice.number,
                    "why": damage.why,
                    "file": damage.file,
                    "removed": done,
                }
                for damage, done in self._named
            ],
        }

    def lines(self, report: "Report", seconds: float) -> Iterator[str]:
        for damage, done in self._named:
            where = damage.object.key if damage.object else f"unknown object, file {damage.file}"
            end = ": removed" if done else ""
            yield f"damaged: {where}, slice {damage.slice.number}: {damage.why}{end}"
        if report.damaged > len(self._named):
            yield f"damaged: and {report.damaged - len(self._named)} more"
        rate = format_size(round(report.bytes / seconds))
        yield f"{format_size(report.bytes)} read in {seconds:.1f} s: {rate}/s"
        for count, what in (
            (report.ok, "slices are right"),
            (report.damaged, f"damaged, {self.removed} of them removed"),
            (report.orphans, "files that the index does not have: the next start removes them"),
            (report.missing, "in the index without a file: fetched again when asked for"),
            (report.others, "files of another format or slice size"),
        ):
            yield f"{count:>9} {what}"


@contextmanager
def repairer(settings: Config, config: Path | None) -> Iterator[Repair]:
    """Removes a damaged slice, and says whether it could. The lock of the folder tells who may."""
    from edgecache.store.files import SliceFiles
    from edgecache.store.folder import FolderInUse, take_lock

    cache = settings.cache
    try:
        lock = os.open(cache.dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the cache folder cannot be locked: {error.strerror}") from error
    try:
        take_lock(lock, cache.dir)
    except FolderInUse:
        yield through_server(config)
    else:
        files = SliceFiles(cache.dir, cache.slice_size)

        def unlink(damage: "Damage") -> bool:
            try:
                files.unlink([damage.file])
            except OSError as error:
                raise StoreError(f"a slice cannot be removed: {error.strerror}") from error
            return True

        yield unlink
    finally:
        os.close(lock)


def through_server(config: Path | None) -> Repair:
    client = admin_client(config)

    def purge(damage: "Damage") -> bool:
        """Its whole object: what is left of it would be fetched with what is gone anyway."""
        if damage.object is None:
            return False  # left to the server, which looks before it opens it
        client.post("/api/purge", {"key": damage.object.key, "origin": damage.object.origin})
        return True

    return purge


@contextmanager
def shown(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where somebody sees it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("Verifying"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    done, due = 0, 0.0

    def advance(length: int) -> None:
        nonlocal done, due
        done += length
        if (now := time.monotonic()) >= due:  # to draw takes longer than to read a small slice
            due = now + REDRAW
            bar.update(task, completed=done)

    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield advance
