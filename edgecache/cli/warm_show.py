"""How far warming has come, for people. Rule: a bar on a terminal, elsewhere lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgecache.cli.warm_drive import DONE, Totals

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY = 10.0

Show = Callable[[Totals], None]


@contextmanager
def progress(
    console: "Console", total: int | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Show]:
    """`total` None: nobody knows how much there is."""
    if console.is_terminal:
        with bar(console, total) as show:
            yield show
    else:
        yield lines(console, total, clock)


@contextmanager
def bar(console: "Console", total: int | None) -> Iterator[Show]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}")
    with Progress(text, BarColumn(), TimeElapsedColumn(), console=console) as shown:
        task = shown.add_task("Warming", total=total)

        def show(totals: Totals) -> None:
            shown.update(task, completed=totals.objects, description=so_far(totals, total))

        yield show


def lines(console: "Console", total: int | None, clock: Callable[[], float]) -> Show:
    due = clock() + LINE_EVERY

    def show(totals: Totals) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + LINE_EVERY
            console.print(so_far(totals, total), soft_wrap=True)

    return show


def so_far(totals: Totals, total: int | None) -> str:
    of = "" if total is None else f" of {total}"
    return f"Warmed {totals.objects}{of} objects, {totals.bytes / 1e6:.1f} MB"


def summary(totals: Totals, seconds: float) -> list[str]:
    results = ", ".join(f"{count} {result}" for result, count in totals.results.most_common())
    said = [
        f"{totals.objects} objects in {seconds:.1f} s: {results or 'nothing to do'}",
        f"{totals.bytes / 1e6:.1f} MB came into the cache",
    ]
    for one in totals.failed:
        why = f" ({one['detail']})" if "detail" in one else ""
        said.append(f"not warmed: {one['key']!r}: {one['result']}{why}")
    more = totals.objects - sum(totals.results[done] for done in DONE) - len(totals.failed)
    return [*said, f"not warmed: {more} more"] if more else said
