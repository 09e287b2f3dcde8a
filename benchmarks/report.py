"""What a run prints: the circumstances, one table, or all of it as JSON."""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """What every benchmark takes."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test: too short to quote")
    parser.add_argument("--workers", type=int, default=2, help="of each server (default: 2)")
    parser.add_argument("--json", action="store_true", help="everything measured, as JSON")
    parser.add_argument("--dir", type=Path, help="where the caches go (default: a temporary one)")
    return parser


@contextmanager
def workplace(given: Path | None) -> Iterator[Path]:
    """A directory of its own below `given`, removed in the end."""
    with tempfile.TemporaryDirectory(prefix="edgecache-bench-", dir=given) as name:
        yield Path(name)


@dataclass(frozen=True, slots=True)
class Ratio:
    """ours / theirs: the median over the rounds of what was measured in the same round."""

    middle: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.lowest:.2f}-{self.highest:.2f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(median(each), min(each), max(each))


def show(
    title: str,
    circumstances: dict[str, str],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> None:
    console = Console(width=None if os.isatty(1) else 200, highlight=False)
    for name, value in circumstances.items():
        console.print(f"{name}: {value}")
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def show_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def note(text: str) -> None:
    Console(stderr=True, highlight=False).print(f"[dim]{text}[/dim]")
