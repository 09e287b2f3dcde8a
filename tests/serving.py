"""A running edgecache in front of a RunPod-like origin, and a client that hides nothing.

Rule of this module: tests say what they need of a server, never how it is made. `VARIANTS` are the
forms that a server has, `USUAL` those that every suite runs in, `EXACT` those of the suites that
say what a client sees; a test that all forms matter to is marked with `in_every_variant`.

A test module takes the fixtures it uses: `serve = serving.serve` (or `serving.serve_exactly`),
`site = serving.site`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict

from edgecache.config import Config
from edgecache.core.model import ObjectKey
from edgecache.metrics import Metrics
from edgecache.store import SliceStore
from edgecache.store.memory import MemoryStore
from edgecache.web.app import Server
from tests.cluster import Cluster
from tests.conftest import FakeClock
from tests.runpod import RunPodOrigin
from tests.waiting import PATIENCE, until

Make = Callable[[Config, FakeClock], Server]
# A server keeps its store over a restart where the store is in memory.
MakeForm = Callable[[], Make]


def on_store(store: SliceStore) -> Make:
    return lambda config, clock: Server(config, store=store, clock=clock)


def in_memory() -> Make:
    return on_store(MemoryStore())


def on_disk() -> Make:
    return lambda config, clock: Server(config, clock=clock)


def with_workers() -> Make:
    return lambda config, clock: Cluster(config, clock=clock)


# On connections that are kept, hits take the fast path: what a client sees is the same.
KEPT = {"kept alive": in_memory, "workers, kept alive": with_workers}
VARIANTS: dict[str, MakeForm] = {
    "memory": in_memory,
    "disk": on_disk,
    "workers": with_workers,
    **KEPT,
}
USUAL = ["memory"]
EXACT = ["memory", "workers", *KEPT]
in_every_variant = pytest.mark.parametrize("serve", VARIANTS, indirect=True)
SLICE = 64 * 2**10  # the smallest there is: a few of them make a test's object
MAX_HEAD = 64 * 2**10

Fields = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response as it was on the wire."""

    status: int
    reason: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def cache_status(self) -> str:
        return self.headers["Cache-Status"]

    @property
    def content_type(self) -> str:
        return self.headers["Content-Type"]


class Wire:
    """One client connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_all(self, data: bytes) -> None:
        """As `send`, to a server that may refuse before all of it was taken: its answer counts."""
        with suppress(ConnectionError):
            await self.send(data)

    async def reply(self, method: str = "GET") -> Reply:
        """The next response, read by its own framing."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, reason, headers = parse_head(head)
            length = body_length(method, status, headers)
            body = await self.reader.readexactly(length)
        return Reply(status=status, reason=reason, headers=headers, body=body)

    async def rest(self) -> bytes:
        """Everything until the server closes; what came before a reset."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionResetError):
                while piece := await self.reader.read(2**18):
                    data += piece
        return data

    def close(self) -> None:
        self.writer.close()


def parse_head(head: bytes) -> tuple[int, str, CIMultiDict[str]]:
    """Strict: what is not HTTP/1.1 as we want to speak it fails the test."""
    status_line, *lines = head.removesuffix(b"\r\n\r\n").decode("utf-8").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.[01] ([1-5][0-9]{2}) ([\x20-\x7e]*)", status_line)
    assert found, f"not a status line: {status_line!r}"
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)", line)
        assert field, f"not a field: {line!r}"
        headers.add(field[1], field[2])
    return int(found[1]), found[2], headers


def body_length(method: str, status: int, headers: CIMultiDict[str]) -> int:
    """edgecache knows the length of all it sends, so nothing is ever chunked."""
    assert "Transfer-Encoding" not in headers
    if method == "HEAD" or status in (204, 304):
        return 0
    assert len(headers.getall("Content-Length")) == 1
    return int(headers["Content-Length"])


def parse_replies(data: bytes, method: str = "GET") -> list[Reply]:
    """All responses in `data`; the assertions fail on anything else in it."""
    replies = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"the end of a head is missing: {head!r}"
        status, reason, headers = parse_head(head + separator)
        length = body_length(method, status, headers)
        assert len(data) >= length, f"{length - len(data)} bytes of the body are missing"
        replies.append(Reply(status=status, reason=reason, headers=headers, body=data[:length]))
        data = data[length:]
    return replies


def request_bytes(method: str, target: str, headers: Fields = (), version: str = "1.1") -> bytes:
    """A request as it stands; Host is `edge` unless one is given."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("Host", "edge"))
    lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in pairs), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


class Site:
    """A server, its origin, and the clock that both go by."""

    def __init__(
        self, make_server: Callable[[], Server], origin: RunPodOrigin, clock: FakeClock, log: Path
    ) -> None:
        self.server = make_server()
        self.origin = origin
        self.clock = clock
        self.keeps_alive = False
        self._make_server = make_server
        self._log = log
        self.resting = 0

    async def start(self) -> None:
        await self.server.start()
        self.resting = len(self.server.tasks)  # what runs as long as the server does

    async def restart(self) -> None:
        """A new server on what the old one has stored."""
        await self.server.close()
        self.server = self._make_server()
        await self.start()

    @asynccontextmanager
    async def connect(self, url: str = "") -> AsyncIterator[Wire]:
        where = urlsplit(url or self.server.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=MAX_HEAD)
        wire = Wire(reader, writer)
        try:
            yield wire
        finally:
            wire.close()

    async def send(self, data: bytes) -> bytes:
        """All that a new connection answers to `data`, until it is closed."""
        async with self.connect() as wire:
            await wire.send_all(data)
            return await wire.rest()

    async def request(self, method: str, target: str, headers: Fields = ()) -> Reply:
        """One request on a connection of its own, and no byte more than its one response."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if not self.keeps_alive:
            data = await self.send(request_bytes(method, target, [*pairs, ("Connection", "close")]))
            (reply,) = parse_replies(data, method)
            return reply
        async with self.connect() as wire:
            await wire.send(request_bytes(method, target, pairs))
            reply = await wire.reply(method)
            wire.writer.write_eof()
            assert await wire.rest() == b""
        return reply

    async def get(self, target: str, headers: Fields = ()) -> Reply:
        return await self.request("GET", target, headers)

    async def head(self, target: str, headers: Fields = ()) -> Reply:
        return await self.request("HEAD", target, headers)

    async def idle(self) -> None:
        """Wait until nothing is fetched or stored any more."""
        await until(lambda: len(self.server.tasks) <= self.resting)
        await self.origin.settled()

    async def looked_up(self) -> None:
        """Wait until all requests that are in flight have looked for what is known."""
        # The index is read one after the other: when this was, so were all before.
        await self.server.store.load_meta(ObjectKey("volume", "outputs/none"))
        for _ in range(20):
            await asyncio.sleep(0)

    async def admin(self, method: str, target: str, headers: Fields = ()) -> Reply:
        async with self.connect(self.server.admin_url) as wire:
            await wire.send(request_bytes(method, target, headers))
            return await wire.reply(method)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a family's samples with these labels, as a scrape shows them."""
        text = (await self.admin("GET", "/metrics")).body.decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return sum(
            float(value)
            for sample, value in samples
            if sample.partition("{")[0] == f"edgecache_{name}" and all(w in sample for w in wanted)
        )

    @property
    def in_flight(self) -> float:
        return sum(metrics.in_flight.value for metrics in self._all_metrics())

    @property
    def connections(self) -> float:
        return sum(metrics.connections.value for metrics in self._all_metrics())

    def _all_metrics(self) -> list[Metrics]:
        workers = self.server.workers if isinstance(self.server, Cluster) else []
        return [self.server.metrics, *(worker.metrics for worker in workers)]

    def access_log(self) -> list[str]:
        """Its lines; all of them only once the server is closed."""
        return self._log.read_text("utf-8").splitlines()

    def has_access_log(self) -> bool:
        return self._log.exists()

    def access_entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.access_log()]


Serve = Callable[..., AbstractAsyncContextManager[Site]]


def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """`async with serve(listen={"header_timeout": 0.05}) as site:` with settings by section."""
    make_form = VARIANTS[request.param]
    numbers = count()
    clock = FakeClock()

    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[Site]:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        async with RunPodOrigin(now=clock) as origin:
            config = settings_for(origin, folder, settings)
            make = make_form()
            site = Site(
                lambda: make(config, clock),
                origin,
                clock,
                folder / "access.log",
            )
            site.keeps_alive = request.param in KEPT
            await site.start()
            try:
                yield site
            finally:
                await site.server.close()

    # The signer asks botocore's clock, which the origin compares with its own.
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock(), UTC)):
        yield started


serve = pytest.fixture(params=USUAL, name="serve")(serving)
# For the suites that hold for one process and for several.
serve_exactly = pytest.fixture(params=EXACT, name="serve")(serving)


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    """A server with the settings of `settings_for`."""
    async with serve() as site:
        yield site


def settings_for(origin: RunPodOrigin, folder: Path, settings: Mapping[str, Any]) -> Config:
    """Small slices and runs, ports of the system's choice, and what a test sets besides."""
    sections: dict[str, Any] = {
        "listen": {"host": "127.0.0.1", "port": 0, "drain_timeout": 1},
        "admin": {"port": 0},
        "origins": {"volume": origin.settings | settings.get("origin", {})},
        "freshness": {"stale_while_revalidate": 0, "stale_if_error": 0},
        "cache": {"dir": folder / "cache", "slice_size": SLICE},
        # Fetched ahead it is only where that is what is tested: by how the client reads.
        "fetch": {
            "first_run": SLICE,
            "image_run": 4 * SLICE,
            "max_run": 4 * SLICE,
            "retry_delay": 0.001,
            "settle": 0,
            "readahead": 0,
        },
        "log": {"access_file": str(folder / "access.log")},
    }
    for section, values in settings.items():
        if section == "origin":  # what the one origin has besides what it is
            continue
        if isinstance(values, Mapping):
            values = sections.get(section, {}) | values
        sections[section] = values
    return Config(**sections)


async def gather(*awaitables: Awaitable[Reply]) -> list[Reply]:
    async with asyncio.timeout(PATIENCE):
        return list(await asyncio.gather(*awaitables))
