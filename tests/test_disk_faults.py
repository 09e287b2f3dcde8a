"""The disk fails, in front of one process and of several: what is answered, told and got over.

Every answer is exact while it lasts and after; caching is back without a restart. The grid of all
of it is printed at the end.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from operator import gt
from pathlib import Path

import pytest

from edgecache.store import writer, wrong_slices
from edgecache.store.disk import DiskStore
from edgecache.web import app
from tests import serving
from tests.cluster import Cluster
from tests.disk_faults import FAULTS, Disk, Fault, disk_for
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.slices import slice_files
from tests.waiting import PATIENCE, TICK, until

serve = serving.serve

INTERVAL = 0.05
REAL_INTERVALS = writer.PROBE_INTERVAL + app.TELL_EVERY
FORMS = {"disk": "one process", "workers": "two workers"}
COLUMNS = [*FORMS.values(), "at start"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is tried a hundred times as often: waiting for it proves nothing."""
    monkeypatch.setattr(writer, "PROBE_INTERVAL", INTERVAL)
    monkeypatch.setattr(app, "TELL_EVERY", INTERVAL)
    monkeypatch.setattr(wrong_slices, "LASTS", 10 * INTERVAL)


@pytest.fixture(scope="module")
def grid(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], str]]:
    cells: dict[tuple[str, str], str] = {}
    yield cells
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n\nIn each cell: every answer exact, no orphan left.")
        print(" " * 20 + "".join(f"{name:<34}" for name in COLUMNS))
        for fault in FAULTS:
            row = [cells.get((fault, column), "-") for column in COLUMNS]
            print(f"{fault:<20}" + "".join(f"{cell:<34}" for cell in row))


async def answered(ask: Callable[[], Awaitable[bool]]) -> None:
    """Until the answer is yes."""
    async with asyncio.timeout(PATIENCE):
        while not await ask():  # noqa: ASYNC110  # there is nothing to wait for
            await asyncio.sleep(TICK)


class Round:
    """A server before, during and after one fault."""

    def __init__(self, site: Site, disk: Disk, fault: Fault) -> None:
        self.site = site
        self.disk = disk
        self.fault = fault
        self.put = 0
        self.words: list[str] = []
        self.origin: dict[str, Pattern] = {}

    def new(self) -> str:
        self.put += 1
        key = f"outputs/{self.put}.mp4"
        self.origin[key] = Pattern(3 * SLICE - 100 * self.put, seed=self.put)
        self.site.origin.put(key, self.origin[key])
        return key

    async def ask(self, *keys: str) -> list[str]:
        """Each of every process, whole and in part; what the cache says of the whole ones."""
        said = []
        for key in keys:
            data = self.origin[key]
            for _ in FORMS:
                reply = await self.site.get(f"/{key}")
                assert (reply.status, reply.body == data.read()) == (200, True), reply.reason
                said.append(reply.cache_status)
                reply = await self.site.get(f"/{key}", {"Range": "bytes=70000-140000"})
                assert (reply.status, reply.body == data.read(70_000, 140_001)) == (206, True)
                assert (await self.site.head(f"/{key}")).status == 200
        return said

    async def ready(self) -> str:
        reply = await self.site.admin("GET", "/readyz")
        return "" if reply.status == 200 else reply.body.decode()

    async def until_told(self) -> None:
        async def is_told() -> bool:
            told = self.fault.told in await self.ready()
            return told and await self.site.metric("store_trouble") == 1.0

        if self.fault.told:
            await answered(is_told)
            self.words.append("told")

    async def warm(self) -> list[str]:
        keys = [self.new() for _ in range(2)]
        await self.ask(*keys)
        await self.site.idle()
        assert all("hit" in said for said in await self.ask(*keys))
        return keys

    async def suffer(self, old: list[str]) -> None:
        """While it lasts, and what comes of a blow."""
        said = await self.ask(*old, self.new())
        if self.fault.hits:
            assert all("hit" in one for one in said[: len(FORMS) * len(old)])
            self.words.append("hits")
        await self.until_told()
        await self.ask(*old, self.new(), self.new())

    async def recover(self) -> None:
        began = time.monotonic()
        self.disk.end()
        await answered(self.is_ready)
        self.new()
        for key in self.origin:
            await answered(partial(self.is_cached, key))
        seconds = time.monotonic() - began
        assert seconds + REAL_INTERVALS < 10
        self.words.append(f"back {seconds:.1f} s")

    async def is_ready(self) -> bool:
        return not await self.ready() and await self.site.metric("store_trouble") == 0.0

    async def is_cached(self, key: str) -> bool:
        """Whether every process that listens answers it by itself."""
        before = self.own_hits()
        said = await self.ask(key)
        return all("hit" in one for one in said) and all(map(gt, self.own_hits(), before))

    def own_hits(self) -> list[float]:
        server = self.site.server
        metrics = [one.metrics for one in server.workers] if isinstance(server, Cluster) else []
        return [one.total("http_requests_total", result="hit") for one in metrics]

    async def leaves_nothing(self) -> None:
        store, cache = self.site.server.store, self.disk.cache
        assert isinstance(store, DiskStore)

        def is_known(file: Path) -> bool:
            return store._is_slice(str(file.relative_to(cache)))

        await until(lambda: all(map(is_known, slice_files(cache))))
        names = {path.name for path in cache.iterdir()}
        assert "writing" not in names
        assert {name for name in names if "broken" in name} <= {"broken-1", "broken-2"}
        assert cache.stat().st_mode & 0o777 == 0o700

    async def crash(self) -> None:
        """What is on the disk stays as it is; the processes are gone."""
        if self.disk.root.is_mount():
            await self.site.server.close()
            return
        copy = self.disk.root / "crashed"
        shutil.copytree(self.disk.cache, copy)
        await self.site.server.close()
        shutil.rmtree(self.disk.cache)
        copy.rename(self.disk.cache)


@pytest.fixture
async def around(
    request: pytest.FixtureRequest, serve: Serve, tmp_path: Path
) -> AsyncIterator[Round]:
    fault = FAULTS[request.getfixturevalue("name")]
    with disk_for(fault, tmp_path) as disk:
        async with serve(cache={"dir": disk.cache, "slice_size": SLICE, "size": "32MiB"}) as site:
            yield Round(site, disk, fault)


@pytest.mark.parametrize("serve", FORMS, indirect=True)
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_under_a_running_server(
    around: Round, name: str, request: pytest.FixtureRequest, grid: dict[tuple[str, str], str]
) -> None:
    column = FORMS[request.node.callspec.params["serve"]]
    grid[name, column] = "FAILED"
    old = await around.warm()
    lost = await around.site.metric("indexes_lost_total")
    around.fault.begin(around.disk)
    await around.suffer(old)
    await around.recover()
    if is_lost := await around.site.metric("indexes_lost_total") > lost:
        around.words.append("lost")
    assert around.fault.loses in (is_lost, None)
    await around.ask(*around.origin)
    await around.site.idle()
    await around.leaves_nothing()
    await around.site.restart()
    await around.ask(*around.origin)
    await answered(around.is_ready)
    grid[name, column] = ", ".join(around.words)


@pytest.mark.parametrize("serve", ["disk"], indirect=True)
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.starts])
async def test_a_fault_before_the_start(
    around: Round, name: str, grid: dict[tuple[str, str], str]
) -> None:
    grid[name, "at start"] = "FAILED"
    old = await around.warm()
    await around.crash()
    around.fault.begin(around.disk)
    await around.site.restart()
    await around.ask(*old, around.new())
    await around.until_told()
    await around.recover()
    if await around.site.metric("indexes_lost_total"):
        around.words.append("lost")
    await around.ask(*around.origin)
    await around.site.idle()
    await around.leaves_nothing()
    grid[name, "at start"] = ", ".join(around.words)
