"""Writes access log lines away from the event loop. Rule: a log that can't take its lines costs
lines, which are counted, never a request."""

import asyncio
import logging
import os
import select
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from edgecache.config import Log
from edgecache.core.accesslog import AccessEntry, Format, Frame, format_combined, format_json
from edgecache.core.errors import ConfigError
from edgecache.metrics import Metrics
from edgecache.tasks import Tasks

log = logging.getLogger("edgecache.accesslog")

FLUSH_EVERY = 0.25
# What waits to be written at most, and what a pipe takes at once, in bytes.
LIMIT = 4 * 2**20
PIECE = select.PIPE_BUF


class AccessLog:
    """Takes what becomes a line."""

    def __init__(self, form: Format, add: Callable[[str], None]) -> None:
        self._form = form
        self._line = form.line
        self._add = add
        self.frame = form.frame

    def record(self, entry: AccessEntry) -> None:
        self._add(self._form(entry))

    def record_hit(self, frame: Frame, when: float, duration: float) -> None:
        """As `record` of the entry that `frame` is of, with these times."""
        self._add(self._line(frame, when, duration, duration))


async def open_access_log(
    settings: Log, metrics: Metrics, tasks: Tasks, stack: AsyncExitStack
) -> AccessLog | None:
    """What takes the entry of each answer, None: nobody wants them. `stack` closes it.

    :raises ConfigError: the file cannot be opened.
    """
    if settings.access == "off":
        return None
    writer = LineWriter(settings.access_file, metrics)
    try:
        writer.open()
    except OSError as error:
        raise ConfigError(f"log.access_file: {error}") from error
    stack.push_async_callback(writer.close)
    tasks.spawn(writer.run(), name="access-log")
    return AccessLog(format_json if settings.access == "json" else format_combined, writer.add)


class LineWriter:
    def __init__(self, path: str, metrics: Metrics) -> None:
        self._path = path
        self._metrics = metrics
        self._lines: list[str] = []  # the next piece
        self._room = 0  # in it
        self._pieces: list[bytes] = []
        self._waiting = 0  # in pieces that are not written yet
        self._fd = -1
        self._is_file = False

    def open(self) -> None:
        """:raises OSError: the file cannot be opened."""
        if self._path == "-":
            self._fd = os.dup(sys.stdout.fileno())
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(Path(self._path), flags, 0o640)
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def add(self, line: str) -> None:
        """`line` is ASCII."""
        length = len(line) + 1
        if length > self._room and not self._next_piece():
            self._metrics.access_log_dropped.inc()
            return
        self._room -= length
        self._lines.append(line)

    def _next_piece(self) -> bool:
        """Whether there is room for one more."""
        self._end_piece()
        self._room = PIECE if self._waiting + PIECE <= LIMIT else 0
        return self._room > 0

    def _end_piece(self) -> None:
        """Whole lines, as many as one write takes at once: those of other processes do not get into
        them, and a process that is killed leaves no half of one.

        Made here, not where it is written: a thread that computes holds the loop up.
        """
        if self._lines:
            self._lines.append("")
            piece = "\n".join(self._lines).encode("ascii", "replace")
            self._pieces.append(piece)
            self._waiting += len(piece)
            self._lines, self._room = [], 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            await self.flush()

    async def flush(self) -> None:
        self._end_piece()
        if not self._pieces:
            return
        pieces, self._pieces = self._pieces, []
        if self._is_file:  # whose writes do not mix, and a thread that asks for the interpreter
            pieces = [b"".join(pieces)]  # two hundred times holds the loop up
        try:
            await asyncio.to_thread(write_all, self._fd, pieces)
        except OSError as error:
            self._metrics.access_log_dropped.inc(sum(piece.count(b"\n") for piece in pieces))
            log.warning("access log not written path=%s error=%s", self._path, error)
        finally:
            self._waiting -= sum(map(len, pieces))

    async def close(self) -> None:
        await self.flush()
        os.close(self._fd)


def write_all(fd: int, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(fd, rest) :]
