"""`edgecache doctor`: asks the live origin what it is like, and says what to do about it."""

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecache.cli.admin_client import complaining
from edgecache.cli.stopping import INTERRUPTED, stop_on_signal
from edgecache.config import Config, load
from edgecache.core.errors import ConfigError

if TYPE_CHECKING:
    from edgecache.doctor.report import Report
    from edgecache.doctor.verdict import Traffic


def doctor(
    key: Annotated[
        str, typer.Option(help="An object that can be read; else the first that is listed.")
    ] = "",
    origin: Annotated[
        str, typer.Option(help="The origin's name in the config, if there are several.")
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Also put small objects, and remove them again.")
    ] = False,
    write_profile: Annotated[
        Path | None,
        typer.Option(help="Write what serve can use to this file, for origins.<name>.quirks."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="An access log, edgecache's or nginx's: what is saved.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=120, help="Seconds for a check.")] = 20.0,
    config: Annotated[
        Path | None, typer.Option(help="Settings, found as serve does.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
) -> None:
    """Ask the origin what works: access, ranges, conditions, browsers, speed; with hints.

    Reads at most 20 MB in at most three minutes, and writes nothing without --write. Exits with 1
    if something is wrong, with 2 if the config is.

    Example: edgecache doctor --key outputs/clip.mp4
    """
    with complaining():
        # Imported here, as in all commands: --help needs none of it.
        from edgecache.doctor.report import as_facts, save_profile

        settings = load(config)
        name = origin_named(origin, settings)
        traffic = traffic_of(log, settings, name) if log else None
        report = asyncio.run(examined(settings, name, key, timeout, traffic, write=write))
        if report is None:
            raise typer.Exit(INTERRUPTED)
        if write_profile is not None:
            save_profile(report, write_profile)
            where = f"origins.{name}.quirks: {write_profile}"
            typer.echo(f"The profile is written. Have serve read it: {where}", err=True)
    if as_json:
        typer.echo(json.dumps(as_facts(report), indent=2))
    else:
        from edgecache.cli.doctor_show import show

        show(report)
    if report.problems:
        raise typer.Exit(1)


def origin_named(name: str, settings: Config) -> str:
    """:raises ConfigError: there is none of that name, or several and no name."""
    names = ", ".join(settings.origins)
    if name and name not in settings.origins:
        raise ConfigError(f"no origin is named {name!r}: there are {names}")
    if not name and len(settings.origins) > 1:
        raise ConfigError(f"say which origin with --origin: {names}")
    return name or next(iter(settings.origins))


def traffic_of(path: Path, settings: Config, name: str) -> "Traffic":
    """:raises EdgecacheError: it can't be read."""
    from edgecache.cli.warm_items import opened
    from edgecache.core.requested import Requested
    from edgecache.doctor.verdict import Traffic

    bucket = settings.origins[name].bucket
    requested = Requested([bucket], 1)  # to the byte: slices would make small images large
    with opened(path) as file:
        for line in file:
            requested.read(line.rstrip("\r\n"))
    demands = requested.objects.values()
    return Traffic(
        sent=sum(one.bytes for one in demands), distinct=sum(one.distinct for one in demands)
    )


async def examined(
    settings: Config,
    name: str,
    key: str,
    timeout: float,
    traffic: "Traffic | None",
    *,
    write: bool,
) -> "Report | None":
    """None: it was stopped before its end."""
    from rich.console import Console

    from edgecache.doctor.checkup import chosen, examine
    from edgecache.doctor.patient import Patient
    from edgecache.doctor.report import Report
    from edgecache.doctor.verdict import verdict

    fetch = settings.fetch
    waits = ("connect_timeout", "first_byte_timeout", "stall_timeout")
    shorter = fetch.model_copy(update={wait: min(getattr(fetch, wait), timeout) for wait in waits})
    patient = Patient(
        name=name,
        origin=settings.origins[name],
        fetch=shorter,
        public=settings.access.public,
        key=key,
    )
    console = Console(stderr=True, highlight=False, markup=False)
    stop = stop_on_signal(lambda: console.print("Stopping ..."))
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            tell: Any = lambda _: None  # noqa: E731
            if console.is_terminal:
                status = stack.enter_context(console.status("Asking ..."))
                tell = lambda check: status.update(f"Asking: {check} ...")  # noqa: E731
            results = await examine(patient, chosen(write=write), timeout, tell)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return None
    finally:
        await patient.close()
    seconds = time.monotonic() - began
    end = verdict(patient.learnt, settings.costs, traffic)
    return Report(patient=patient, results=results, verdict=end, seconds=seconds)
