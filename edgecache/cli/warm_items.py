"""What `edgecache warm` is asked to warm: keys, a file of them, a log's, or a bucket's list."""

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from edgecache.cli.warm_drive import Item
from edgecache.config import Config
from edgecache.core.errors import ConfigError, EdgecacheError
from edgecache.core.requested import Requested
from edgecache.listing import list_keys

STDIN = Path("-")


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """:raises EdgecacheError: it can't be read."""
    try:
        if path == STDIN:
            yield sys.stdin
        else:
            with path.open(encoding="utf-8", errors="surrogateescape") as file:
                yield file
    except OSError as error:
        raise EdgecacheError(f"{path}: {error.strerror}") from error


def from_keys(keys: Sequence[str], path: Path | None, origin: str | None) -> list[Item]:
    """`keys`, then the lines of the file; empty lines are none."""
    lines: list[str] = []
    if path is not None:
        with opened(path) as file:
            lines = [line.rstrip("\r\n") for line in file]
    return [Item(key, origin) for key in (*keys, *lines) if key]


def from_log(
    path: Path, config: Config, *, whole: bool, by: str, most: int | None
) -> tuple[list[Item], list[str]]:
    """Most asked for first; and what is to be said of the log."""
    names = {origin.bucket: name for name, origin in config.origins.items()}
    requested = Requested(names, config.cache.slice_size)
    with opened(path) as file:
        for line in file:
            requested.read(line.rstrip("\r\n"))
    items: list[Item] = []
    unknown = 0
    for (bucket, key), demand in requested.ranked(by)[:most]:
        origin = names[bucket] if bucket else None
        ranges = list(demand.ranges())
        if whole:
            items.append(Item(key, origin))
        items += [] if whole else [Item(key, origin, one) for one in ranges]
        unknown += demand.unknown and not whole
    notes = []
    if requested.refused:
        notes.append(f"{requested.refused} lines tell of nothing to warm")
    if unknown:
        notes.append(
            f"of {unknown} objects parts were asked for that this log does not name: "
            "--whole warms them whole"
        )
    return items, notes


async def given(items: Sequence[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


async def from_prefix(prefix: str, config: Config, origin: str) -> AsyncIterator[Item]:
    async for key in list_keys(config.origins[origin], config.fetch, prefix):
        yield Item(key, origin)


def origin_of(prefix: str, config: Config, origin: str | None) -> str:
    """The one that is named, or whose route the prefix has.

    :raises ConfigError: there is none of that name.
    """
    if origin is not None:
        if origin not in config.origins:
            raise ConfigError(
                f"no origin is named {origin!r}: there are {', '.join(config.origins)}"
            )
        return origin
    routes = sorted(config.routes, key=lambda route: len(route.path), reverse=True)
    found = (route.origin for route in routes if f"/{prefix}".startswith(route.path))
    return next(found, "") or next(iter(config.origins))
