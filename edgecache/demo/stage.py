"""Sets up bucket and server, and has the script played. Rule of this module: whatever ends it, the
server, the S3 and the cache folder are gone afterwards, in that order.
"""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from edgecache.core.errors import CannotStart
from edgecache.demo.bucket import private_bucket
from edgecache.demo.script import write_script
from edgecache.demo.settings import ADMIN_PORT, demo_config, free_port
from edgecache.demo.stats import Outcome
from edgecache.demo.visit import Visit
from edgecache.web.app import Server, start

STARTS = 3  # tries: a port that was free a moment ago may be taken now
CLIENT_TIMEOUT = aiohttp.ClientTimeout(total=15)


@asynccontextmanager
async def stage(objects: Mapping[str, bytes], *, port: int) -> AsyncIterator[Server]:
    """An edgecache with an empty cache in front of a bucket with `objects`.

    :raises ConfigError: moto is missing; CannotStart: no port is free.
    """
    with tempfile.TemporaryDirectory(prefix="edgecache-demo-") as folder:
        async with private_bucket(objects) as endpoint:
            server = await _serve(endpoint, Path(folder), port)
            try:
                yield server
            finally:
                await server.close()


async def _serve(endpoint: str, folder: Path, wanted: int) -> Server:
    for tries_left in reversed(range(STARTS)):
        port = free_port(wanted)
        admin_port = free_port(ADMIN_PORT if wanted else 0, taken={port})
        try:
            return await start(demo_config(endpoint, folder, port=port, admin_port=admin_port))
        except CannotStart:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


async def replay(console: Console, server: Server, objects: Mapping[str, bytes]) -> Outcome:
    """:raises WrongAnswer: an answer is not what was put into the bucket."""
    steps = write_script(objects)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,  # the table says it all
        disable=not console.is_terminal,
    )
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=CLIENT_TIMEOUT, auto_decompress=False
    ) as session:
        with progress:
            bar = progress.add_task("", total=sum(len(step.asks) for step in steps))
            visit = Visit(
                session,
                objects,
                url=server.url,
                admin_url=server.admin_url,
                advance=lambda: progress.advance(bar),
            )
            results = []
            for step in steps:
                progress.update(bar, description=step.title)
                results.append(await visit.run(step))
        return Outcome(results=tuple(results), totals=await visit.stats())
