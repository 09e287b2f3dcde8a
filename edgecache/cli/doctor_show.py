"""How the doctor's findings are told. Rule of this module: findings in, text out; what the origin
said is shown without what a terminal would act on."""

from collections.abc import Iterator, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgecache.cli.explain import printable
from edgecache.core.units import format_size
from edgecache.doctor.checkup import Result
from edgecache.doctor.finding import State
from edgecache.doctor.report import Report

STYLES = {State.OK: "green", State.NOTE: "yellow", State.PROBLEM: "bold red", State.SKIPPED: "dim"}
WIDTH = 100  # where nobody says how wide it is


def show(report: Report) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    with console.capture() as captured:
        for line in heading(report):
            console.print(line, soft_wrap=True)
        console.print()
        console.print(table(report.results))
        console.print()
        for line in ending(report):
            console.print(line)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def heading(report: Report) -> Iterator[str]:
    patient, origin = report.patient, report.patient.origin
    yield f"Origin {patient.name}: {origin.endpoint}, bucket {origin.bucket}"
    again = f" ({count} of them again)" if (count := patient.probe.repetitions) else ""
    seconds = f"{patient.probe.requests} requests{again} in {report.seconds:.1f} s"
    length = f" ({format_size(patient.length)})" if patient.length else ""
    yield printable(f"Asked about {patient.key or 'no object'}{length}: {seconds}")


def table(results: Sequence[Result]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in results:
        style = STYLES[one.finding.state]
        text = Text(printable(one.finding.text))
        if one.finding.hint:
            text.append(f"\n-> {printable(one.finding.hint)}", style=style)
        grid.add_row(Text(one.finding.state.value, style=style), Text(one.check), text)
    return grid


def ending(report: Report) -> Iterator[str]:
    yield f"Can browsers read it directly? {report.verdict.access}"
    yield ""
    yield f"What is saved? {report.verdict.savings}"
    yield ""
    count = counted(report.count(State.NOTE), "note").lower()
    copes = " (edgecache copes with those)" if report.count(State.NOTE) else ""
    yield f"{counted(report.problems, 'problem')}, {count}{copes}."


def counted(count: int, what: str) -> str:
    return f"{count or 'No'} {what}{'' if count == 1 else 's'}"
