"""Power cuts at any moment under load, as the disk has them: not one wrong byte comes of them.

The cache is on an ext4 of its own, and is written to all the time. Each round takes a copy of its
image as it is at one moment, which is a power cut: rows whose files are cut short, or are not
there, files without a row. A server that starts on the copy is asked for everything.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from edgecache.config import Config
from edgecache.core.model import ObjectKey, SliceKey
from edgecache.store.disk import DiskStore
from edgecache.store.slice_format import PART
from edgecache.tasks import Tasks
from edgecache.web.app import Server
from tests.cluster import Cluster
from tests.conftest import FakeClock
from tests.images import carried, copy_image, mounted, need_mounts, run
from tests.runpod import RunPodOrigin
from tests.serving import Site, parse_head, request_bytes, settings_for
from tests.waiting import until

IMAGE = 40 * 2**20
SLICE = 2 * PART  # which may be torn in its second half alone
LIMIT = 12 * 2**20
KEYS = [f"outputs/{number}.mp4" for number in range(32)]
READERS = 4
# Answers between two cuts, at most.
APART = 60
TTL = 60.0


@dataclass
class Objects:
    """What the origin has, and had: an answer is one of its versions, whole."""

    origin: RunPodOrigin
    choose: random.Random

    def __post_init__(self) -> None:
        self._bodies: set[tuple[str, int]] = set()
        self._slices: set[tuple[str, int, int]] = set()
        for key in KEYS:
            self.change(key)

    def change(self, key: str) -> None:
        # Most of them of more than one slice, some of less than one.
        data = self.choose.randbytes(self.choose.randint(1, 6 * SLICE))
        self._bodies.add((key, hash(data)))
        for start in range(0, len(data), SLICE):
            self._slices.add((key, start // SLICE, hash(data[start : start + SLICE])))
        self.origin.put(key, data)

    def has(self, key: str, data: bytes) -> bool:
        """Whether these are all bytes of one version."""
        return (key, hash(data)) in self._bodies

    def has_slice(self, key: str, number: int, data: bytes) -> bool:
        return (key, number, hash(data)) in self._slices


class PowerCuts:
    """A server under load on `disk`, and what was found on copies of its disk."""

    def __init__(
        self, image: Path, folder: Path, options: str, site: Site, objects: Objects
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.answers = 0
        self._running = asyncio.Event()
        self._running.set()
        self._image = image
        self._folder = folder
        self._options = options
        self._site = site
        self._objects = objects

    async def read_on(self) -> None:
        """As a client that wants anything, again and again."""
        while True:
            await self._running.wait()
            key = self._objects.choose.choice(KEYS)
            data, whole = await body_of(self._site, key)
            assert self._objects.has(key, data) or not whole
            self.answers += 1

    async def cut(self, number: int) -> None:
        if number % 2:  # else the last half minute is all there is, and nothing of it is safe
            await asyncio.to_thread(run, "sync", "--file-system", self._folder / "disk")
        for key in self._objects.choose.sample(KEYS, 4):
            self._objects.change(key)
        self._site.clock.advance(TTL)  # so that they are noticed
        moment = self.answers + self._objects.choose.randint(1, APART)
        await until(lambda: self.answers >= moment)
        copy = self._folder / "copy"
        await asyncio.to_thread(copy_image, self._image, copy)
        self._running.clear()  # it would only take the time of the other
        try:
            with mounted(copy, self._folder / "after", self._options) as disk:
                await self._check(disk, number)
        finally:
            copy.unlink()
            self._running.set()

    async def _check(self, disk: Path, number: int) -> None:
        form = Cluster if number % 4 < 2 else Server
        config = settings_of(self._site.origin, disk, self._folder)
        site = Site(
            lambda: form(config, clock=self._site.clock), self._site.origin, self._site.clock, disk
        )
        await site.start()
        try:
            store = site.server.store
            assert isinstance(store, DiskStore)
            self.counts["found"] += store.slices
            passes: list[Callable[[], Awaitable[None]]] = [
                lambda: self._read_slices(store),
                lambda: self._read_objects(site),
            ]
            for check in passes if number % 8 < 4 else reversed(passes):
                await check()
            assert not store.trouble()
            assert site.server.metrics.indexes_lost.value == 0
            self.counts["torn"] += int(site.server.metrics.integrity_failures.value)
        finally:
            await site.server.close()

    async def _read_slices(self, store: DiskStore) -> None:
        """All that the folder claims to have."""
        for key in KEYS:
            meta = await store.load_meta(ObjectKey("volume", key))
            if meta is None:
                continue
            for number in range(-(-meta.length // SLICE)):
                opened = await store.open(SliceKey(meta.version, number), meta)
                if opened is not None:
                    data = await opened.read(0, opened.length)
                    assert self._objects.has_slice(key, number, bytes(data))
                    self.counts["verified"] += 1

    async def _read_objects(self, site: Site) -> None:
        """As clients see it."""
        before = site.origin.body_bytes
        for key in KEYS:
            data, whole = await body_of(site, key)
            assert whole
            assert self._objects.has(key, data)
            self.counts["bytes"] += len(data)
        await site.idle()
        self.counts["bytes bought"] += site.origin.body_bytes - before


async def body_of(site: Site, key: str) -> tuple[bytes, bool]:
    """And whether it is whole: one that was replaced while it was read is cut, visibly."""
    answer = await site.send(request_bytes("GET", f"/{key}", {"Connection": "close"}))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, _reason, fields = parse_head(head + b"\r\n\r\n")
    assert status == 200
    return body, len(body) == int(fields["Content-Length"])


def settings_of(origin: RunPodOrigin, disk: Path, logs: Path) -> Config:
    cache = {"dir": disk / "cache", "size": LIMIT, "slice_size": SLICE}
    fetch = {"first_run": SLICE, "image_run": 4 * SLICE, "max_run": 4 * SLICE}
    routes = [{"path": "/", "ttl": TTL}]
    log = {"access_file": str(logs / "log")}
    return settings_for(
        origin, logs, {"cache": cache, "fetch": fetch, "log": log, "routes": routes}
    )


@asynccontextmanager
async def cutting(folder: Path, options: str) -> AsyncIterator[PowerCuts]:
    clock = FakeClock()
    # The signer asks botocore's clock, which the origin compares with its own.
    with (
        patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock(), UTC)),
        carried(folder / "image", IMAGE) as image,
        mounted(image, folder / "disk", options) as disk,
    ):
        async with RunPodOrigin(now=clock) as origin:
            config = settings_of(origin, disk, folder)
            site = Site(lambda: Server(config, clock=clock), origin, clock, folder / "log")
            await site.start()
            cuts = PowerCuts(image, folder, options, site, Objects(origin, random.Random(0)))
            tasks = Tasks()
            readers = [tasks.spawn(cuts.read_on(), name="reader") for _ in range(READERS)]
            try:
                await until(lambda: cuts.answers > 2 * len(KEYS))
                yield cuts
                assert not any(reader.done() for reader in readers)
            finally:
                await tasks.close()
                await site.server.close()


async def run_rounds(folder: Path, options: str, rounds: int) -> None:
    need_mounts(folder)
    async with cutting(folder, options) as cuts:
        for number in range(rounds):
            await cuts.cut(number)
    counts = cuts.counts
    print(f"{rounds} power cuts, {options}: {dict(counts)}")
    assert min(counts["verified"], counts["torn"]) > 0
    assert counts["bytes bought"] < counts["bytes"]


@pytest.mark.parametrize("options", ["data=ordered,commit=1", "data=writeback,commit=1"])
async def test_after_a_power_cut_not_one_byte_is_wrong(tmp_path: Path, options: str) -> None:
    await run_rounds(tmp_path, options, 10)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("options", ["data=ordered,commit=1", "data=writeback,commit=1"])
async def test_after_two_hundred_power_cuts_not_one_byte_is_wrong(
    tmp_path: Path, options: str, asked_for: None
) -> None:
    await run_rounds(tmp_path, options, 200)
