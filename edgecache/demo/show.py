"""The demo's story: bucket, server, visit, table, and then it stays up.

Rule of this module: whatever ends it (the end, an error, Ctrl-C), server, S3 and folder are gone
afterwards, in that order.
"""

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from edgecache.core.errors import ConfigError
from edgecache.demo import report
from edgecache.demo.bucket import private_bucket
from edgecache.demo.samples import GALLERY, IMAGES, VIDEO, load
from edgecache.demo.script import write_script
from edgecache.demo.settings import ADMIN_PORT, SLICE_SIZE, demo_config, free_port
from edgecache.demo.stats import Stats
from edgecache.demo.visit import StepResult, Visit
from edgecache.tasks import Tasks
from edgecache.web.app import Server, start

STARTS = 3  # a port that was free a moment ago may not be


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    port: int
    browser_hint: bool
    once: bool
    as_json: bool

    async def run(self) -> bool:
        """Whether it came to its end: False, if it was stopped before the table."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        console = Console(stderr=self.as_json, highlight=False)
        tasks = Tasks()
        shown = asyncio.Event()
        playing = tasks.spawn(self._play(console, shown, stop), name="demo")
        stopping = tasks.spawn(stop.wait(), name="stop")
        await asyncio.wait((playing, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not shown.is_set() and not playing.done():
            playing.cancel()
        try:
            await playing
        except asyncio.CancelledError:
            pass
        finally:
            await tasks.close()
        return shown.is_set()
