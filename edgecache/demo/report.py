"""How it is told. Rule of this module: figures in, text out; it fits into 80 columns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from edgecache.core.units import format_size
from edgecache.demo.samples import GALLERY, IMAGES, VIDEO
from edgecache.demo.settings import SLICE_SIZE
from edgecache.demo.stats import Outcome, Stats

COLUMNS = ("Requests", "To\nclients", "From\norigin", "Saved", "Cold", "Warm")
CAPTION = (
    "Cold, warm: median time to the first byte of misses and of hits.\n"
    "Whole slices are fetched: a first look may cost more than it shows."
)
NOTHING = "-"


def table(outcome: Outcome) -> Table:
    results, totals = outcome.results, outcome.totals
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, show_footer=True)
    grid.collapse_padding = True
    grid.caption, grid.caption_justify = CAPTION, "left"
    feet = row(
        totals.requests,
        totals.client_bytes,
        totals.origin_bytes,
        [seconds for result in results for seconds in result.cold],
        [seconds for result in results for seconds in result.warm],
    )
    grid.add_column("Visit", footer="All", no_wrap=True)
    for name, foot in zip(COLUMNS, feet, strict=True):
        grid.add_column(name, justify="right", footer=foot, no_wrap=True)
    for result in results:
        figures = (result.requests, result.client_bytes, result.origin_bytes)
        grid.add_row(result.title, *row(*figures, result.cold, result.warm))
    return grid


def row(
    requests: int, client: int, origin: int, cold: Sequence[float], warm: Sequence[float]
) -> tuple[str, ...]:
    """Saved is negative where more was fetched than sent: whole slices are."""
    return (
        str(requests),
        format_size(client),
        format_size(origin),
        f"{1 - origin / client:.0%}" if client else NOTHING,
        milliseconds(cold),
        milliseconds(warm),
    )


def milliseconds(times: Sequence[float]) -> str:
    if not times:
        return NOTHING
    value = median(times) * 1000
    return f"{value:.{1 if value < 100 else 0}f} ms"


def summary(totals: Stats, dollars_per_gb: float) -> str:
    ratio = NOTHING if totals.hit_ratio is None else f"{totals.hit_ratio:.0%}"
    saved, given = format_size(totals.saved_bytes), format_size(totals.client_bytes)
    return (
        f"\nSaved {saved} of reads from the origin; {ratio} of the requests were"
        f" hits. An app platform would have taken ${totals.dollars_avoided:.4f} for the"
        f" {given} that clients got (${dollars_per_gb:g} per GB). Every byte"
        " was compared with the bucket's.\n\n"
        f"Slices have {SLICE_SIZE // 1024} KiB here instead of 1 MiB, because the video is that"
        " short. The origin is on this machine: a real one is farther away, which makes only the"
        " cold answers slower.\n"
    )


def urls(url: str, admin_url: str) -> dict[str, str]:
    """What there is to open, by name."""
    return {
        "gallery": f"{url}/{GALLERY}",
        "image": f"{url}/{IMAGES[0]}",
        "video": f"{url}/{VIDEO}",
        "metrics": f"{admin_url}/metrics",
        "stats": f"{admin_url}/api/stats",
    }


def links(urls: Mapping[str, str], *, browser: bool) -> str:
    names = [name for name in urls if browser or name not in ("gallery", "image", "video")]
    lines = [f"  {name:<9}{urls[name]}" for name in names]
    return "\n".join(
        [
            *(("Open in a browser:", *lines[:3]) if browser else ()),
            "The operator's side:",
            *lines[-2:],
            "Paste into a shell, and look at Cache-Status:",
            f"  curl -sS -D - -o /dev/null -r 400000-499999 {urls['video']}",
        ]
    )


def as_json(outcome: Outcome, links: Mapping[str, str]) -> str:
    return json.dumps(asdict(outcome) | {"urls": links})
