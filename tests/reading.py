"""What the tests of fills share: clients that read as far as a test says, and a look for leaks.

Rule of this module: nothing waits for a time, only for a condition.
"""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from multidict import CIMultiDict

from edgecache.fill import Fill
from edgecache.slice_buffer import SliceBuffer
from edgecache.upstream import HttpBody
from tests.pattern import Pattern
from tests.serving import MAX_HEAD, SLICE, Fields, Site, parse_head, request_bytes
from tests.waiting import PATIENCE, TICK, until

KEY = "outputs/clip.mp4"
TARGET = f"/{KEY}"


def put(site: Site, slices: int, seed: int = 1, key: str = KEY) -> Pattern:
    """An object of so many slices, the last of them not whole."""
    data = Pattern(slices * SLICE - 100, seed)
    site.origin.put(key, data)
    return data


def span(first: int, slices: int = 1) -> str:
    """The Range of so many slices."""
    return f"bytes={first * SLICE}-{(first + slices) * SLICE - 1}"


class Download:
    """One GET whose body comes at the test's pace."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.left = 0

    async def head(self) -> None:
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
        self.status, _, self.headers = parse_head(head)
        self.left = int(self.headers["Content-Length"])

    async def read(self, count: int) -> bytes:
        """Exactly the next `count` bytes of the body."""
        async with asyncio.timeout(PATIENCE):
            data = await self.reader.readexactly(count)
        self.left -= count
        return data

    async def rest(self) -> bytes:
        """All that is left of the body, which must be whole."""
        return await self.read(self.left)

    async def cut(self) -> bytes:
        """What came before the connection was cut; a whole body fails the test."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionResetError):
                while piece := await self.reader.read(2**18):
                    data += piece
        assert len(data) < self.left, "the body is whole"
        return data

    def leave(self) -> None:
        """Close at once, so that the server's next write fails."""
        self.writer.transport.abort()


@asynccontextmanager
async def asking(
    site: Site, target: str, headers: Fields = (), *, buffer: int = 0
) -> AsyncIterator[Download]:
    """A GET that was sent, its answer's head not awaited. `buffer`: the client's socket's, small
    for a client that is to feel every byte it does not read."""
    where = urlsplit(site.server.url)
    sock = socket.socket()
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (where.hostname, where.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=buffer or MAX_HEAD)
    try:
        writer.write(request_bytes("GET", target, headers))
        yield Download(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def download(
    site: Site, target: str, headers: Fields = (), *, buffer: int = 0
) -> AsyncIterator[Download]:
    """A GET whose answer has begun."""
    async with asking(site, target, headers, buffer=buffer) as got:
        await got.head()
        yield got


async def fetch(site: Site, target: str, range_: str = "") -> bytes:
    """The whole body of a 200 or 206."""
    async with download(site, target, {"Range": range_} if range_ else {}) as got:
        assert got.status == (206 if range_ else 200)
        return await got.rest()


async def still(site: Site) -> None:
    """Until no byte moves any more: everybody waits for a gate, a reader or a full socket."""
    seen = -1
    while seen != site.origin.body_bytes:
        seen = site.origin.body_bytes
        for _ in range(20):
            await asyncio.sleep(TICK)


def gauge(site: Site, name: str) -> float:
    return site.server.metrics.total(name)


def is_idle(site: Site) -> bool:
    """Nothing runs: no request, no fill, no task but those that last, no origin answer."""
    if len(site.server.tasks) > site.resting or site.origin.active:
        return False
    return not any(
        gauge(site, name) for name in ("http_requests_in_flight", "fills_active", "origin_inflight")
    )


async def at_rest(site: Site) -> None:
    await until(lambda: is_idle(site))


def left() -> list[object]:
    """What should be gone when nothing runs. Log records of errors keep frames, and so bodies."""
    return alive(SliceBuffer, Fill, HttpBody)


def alive(*kinds: type) -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


def held(site: Site) -> int:
    """Bytes of slices in memory."""
    buffers = [one for one in alive(SliceBuffer) if isinstance(one, SliceBuffer)]
    return sum(len(one.data) for one in buffers)
