"""A disk that takes its time holds up who waits for it, and nobody else on the same process."""

import os
import threading
from collections.abc import Iterator

import pytest

from edgecache.store import Bytes
from edgecache.store.open_slice import DiskSlice
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, request_bytes
from tests.waiting import PATIENCE

serve = serving.serve

COLD, HOT = "outputs/cold.mp4", "outputs/hot.png"


class Disk(threading.Event):
    """Set, it gives what it holds; else only what is in memory: nothing of slices' files."""

    waits = 0  # reads


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    spins = Disk()
    spins.set()
    preadv, read = os.preadv, DiskSlice._read

    def nowait(*arguments: object) -> int:
        if not spins.is_set():
            raise BlockingIOError
        return preadv(*arguments)  # type: ignore[arg-type]

    def throttled(self: DiskSlice, start: int, stop: int) -> Bytes:
        spins.waits += not spins.is_set()
        assert spins.wait(PATIENCE)
        return read(self, start, stop)

    monkeypatch.setattr(os, "preadv", nowait)
    monkeypatch.setattr(DiskSlice, "_read", throttled)
    yield spins
    spins.set()


@pytest.mark.parametrize("serve", ["disk", "workers"], indirect=True)
async def test_a_slow_read_delays_no_other_client(serve: Serve, disk: Disk) -> None:
    async with serve() as site:
        cold, hot = Pattern(3 * SLICE, seed=1), Pattern(900, seed=2)
        for key, data in ((COLD, cold), (HOT, hot)):
            site.origin.put(key, data)
            for url in {site.server.url for _ in range(4)}:  # every worker has both open
                for _ in range(3):
                    async with site.connect(url) as wire:
                        await wire.send(request_bytes("GET", f"/{key}"))
                        assert (await wire.reply()).body == data.read()
                    await site.idle()
        url = site.server.url
        disk.clear()
        async with site.connect(url) as waiting, site.connect(url) as wire:
            await waiting.send(request_bytes("GET", f"/{COLD}"))
            for _ in range(20):
                await wire.send(request_bytes("GET", f"/{HOT}"))
                assert (await wire.reply()).body == hot.read()
                await wire.send(request_bytes("HEAD", f"/{COLD}"))
                assert (await wire.reply("HEAD")).status == 200
                await wire.send(request_bytes("GET", f"/{COLD}", {"If-None-Match": "*"}))
                assert (await wire.reply()).status == 304
            assert disk.waits == 1
            disk.set()
            assert (await waiting.reply()).body == cold.read()
        assert site.origin.body_bytes == cold.length + hot.length
