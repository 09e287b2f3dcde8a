"""A disk that fails under real processes: exact answers all the while, and caching is back within
ten seconds of its end. What else can go wrong is in the quick grid of `tests/test_disk_faults.py`.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.disk_faults import FAULTS, Disk, Fault, disk_for
from tests.end_to_end.clients import Client
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, serving, settings_for
from tests.pattern import Pattern

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]

SOON = 10.0
NAMES = ["disk full", "read-only", "EIO on everything", "another server's", "folder deleted"]
ASKS = 4  # of one object, so that each process that listens answers


class Round:
    def __init__(self, name: str, origin: OriginThread, server: Edgecache) -> None:
        self._name = name.replace(" ", "-")
        self._origin = origin
        self._server = server
        self._objects: dict[str, Pattern] = {}
        self._numbers = count()

    def new(self) -> str:
        number = next(self._numbers)
        key = f"outputs/{self._name}/{number}.mp4"
        self._objects[key] = Pattern(1_500_000, seed=number)
        self._origin.put(key, self._objects[key])
        return key

    def ask(self, *keys: str) -> list[str]:
        """Whole and in part, exact; what the cache says."""
        said = []
        for key in keys:
            data = self._objects[key]
            for _ in range(ASKS):
                with Client(self._server.url) as client:
                    reply = client.get(f"/{key}")
                    assert (reply.status, reply.body == data.read()) == (200, True)
                    part = client.get(f"/{key}", {"Range": "bytes=1000000-1200000"})
                    assert (part.status, part.body == data.read(1_000_000, 1_200_001)) == (
                        206,
                        True,
                    )
                    said.append(reply.cache_status)
        return said

    def is_cached(self, key: str) -> bool:
        return all("hit" in said for said in self.ask(key))

    def is_told(self, what: str) -> bool:
        status, text = self._server.admin("/readyz")
        trouble = self._server.total("edgecache_store_trouble")
        return (status, trouble) == (503, 1.0) and what in text

    def is_ready(self) -> bool:
        trouble = self._server.total("edgecache_store_trouble")
        return self._server.admin("/readyz")[0] == 200 and not trouble


def suffer(name: str, fault: Fault, disk: Disk, around: Round) -> float:
    """The fault, from before its beginning; how long after its end all was well."""
    old = around.new()
    eventually(lambda: around.is_cached(old), "the first object is cached")
    fault.begin(disk)
    around.ask(old, around.new())
    if fault.told:
        eventually(lambda: around.is_told(fault.told), f"{name} is told", within=2 * SOON)
    around.ask(old, around.new())
    disk.end()
    ended = time.monotonic()
    eventually(around.is_ready, f"{name} is over", within=SOON)
    late = around.new()
    eventually(lambda: around.is_cached(late), f"{name}: cached again", within=SOON)
    return time.monotonic() - ended


def test_a_failing_disk_is_got_over(origin: OriginThread, workers: int, tmp_path: Path) -> None:
    def run(name: str) -> float:
        fault, folder = FAULTS[name], tmp_path / name.replace(" ", "-")
        folder.mkdir()
        with disk_for(fault, folder) as disk:
            settings = settings_for(
                origin.origin.settings,
                folder,
                listen={"workers": workers},
                cache={"dir": str(disk.cache), "size": "32MiB", "slice_size": "64KiB"},
            )
            with serving(settings, folder) as server:
                took = suffer(name, fault, disk, Round(name, origin, server))
                assert server.stop() == 0
                assert server.stderr.find("Traceback") is None, str(server.stderr)
                return took

    with ThreadPoolExecutor(len(NAMES)) as pool:  # each waits for most of its time
        took = dict(zip(NAMES, pool.map(run, NAMES), strict=True))
    assert max(took.values()) < SOON, took
