"""What people see of it. Rule of this module: figures in, text out; it fits into 80 columns."""

from collections.abc import Sequence
from statistics import median

from rich.table import Table

from edgecache.demo.stats import Stats
from edgecache.demo.visit import StepResult

COLUMNS = ("Requests", "To clients", "From origin", "Saved", "Cold", "Warm")
NOTHING = "-"


def table(results: Sequence[StepResult], totals: Stats) -> Table:
    grid = Table(show_footer=True, footer_style="bold", caption=CAPTION, caption_justify="left")
    feet = (
        str(totals.requests),
        size(totals.client_bytes),
        size(totals.origin_bytes),
        saved(totals.client_bytes, totals.origin_bytes),
        milliseconds([seconds for result in results for seconds in result.cold]),
        milliseconds([seconds for result in results for seconds in result.warm]),
    )
    grid.add_column("Visit", footer="All")
    for name, foot in zip(COLUMNS, feet, strict=True):
        grid.add_column(name, justify="right", footer=foot, no_wrap=True)
    for result in results:
        grid.add_row(
            result.title,
            str(result.requests),
            size(result.client_bytes),
            size(result.origin_bytes),
            saved(result.client_bytes, result.origin_bytes),
            milliseconds(result.cold),
            milliseconds(result.warm),
        )
    return grid


CAPTION = "Cold, warm: median time to the first byte of misses and of hits."


def size(count: int) -> str:
    """Decimal units, as traffic is billed."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count} B"


def saved(client_bytes: int, origin_bytes: int) -> str:
    """Negative where more was fetched than was asked for: whole slices are."""
    return f"{1 - origin_bytes / client_bytes:.0%}" if client_bytes else NOTHING


def milliseconds(times: Sequence[float]) -> str:
    return f"{median(times) * 1000:.1f} ms" if times else NOTHING


def summary(totals: Stats, dollars_per_gb: float) -> str:
    """Both figures are the server's: /api/stats."""
    ratio = NOTHING if totals.hit_ratio is None else f"{totals.hit_ratio:.0%}"
    return (
        f"Saved {size(totals.saved_bytes)} at the origin; {ratio} of requests were hits. "
        f"${totals.avoided:.4f} not paid to an app platform at ${dollars_per_gb:g} per GB."
    )
