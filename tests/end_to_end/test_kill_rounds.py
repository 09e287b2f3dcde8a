"""kill -9 of a whole server at any moment under load, again and again on one folder: no wrong byte,
a quick start each time, and nothing that is left over piles up."""

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.end_to_end.clients import CUT, Client, get_patiently, hammering
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, Settings, serving, settings_for
from tests.pattern import Pattern
from tests.slices import slice_files

pytestmark = pytest.mark.e2e

SLICE = 64 * 2**10
LIMIT = 10 * 2**20  # less than all objects take
CLIENTS = 4
KEYS = 24
# Answers before a kill, at most; fewer than it takes to read everything, or several times that.
ANSWERS = 100
START = 5.0
# Files without a row, or rows without a file, that one kill may leave.
LEFT = 64


class Rounds:
    def __init__(self, origin: OriginThread, folder: Path, workers: int) -> None:
        self.counts: Counter[str] = Counter()
        self.starts: list[float] = []
        self._choose = random.Random(workers)
        self._origin = origin
        self._folder = folder
        self._objects = {f"outputs/kill/{workers}/{n}.mp4": self._new(n) for n in range(KEYS)}
        for key, pattern in self._objects.items():
            origin.put(key, pattern)
        self._settings: Settings = settings_for(
            origin.origin.settings,
            folder,
            listen={"workers": workers},
            cache={"size": LIMIT, "slice_size": SLICE},
            log={"access": False},
        )

    def _new(self, seed: int) -> Pattern:
        return Pattern(self._choose.randint(1, 16 * SLICE), seed=seed)

    def run(self) -> None:
        with self._started() as server:
            eventually(lambda: not self._orphans(), "what was left over is gone")
            self._check(server)
            moment = self._choose.randint(1, ANSWERS)
            self._answers = 0
            with hammering(CLIENTS, lambda number, over: self._read_on(server, number, over)):
                eventually(lambda: self._answers >= moment, "answers")
                server.kill()
        orphans, missing = len(self._orphans()), len(self._missing())
        self.counts["files without a row"] += orphans
        self.counts["rows without a file"] = missing  # in all
        assert max(orphans, missing) <= LEFT

    @contextmanager
    def _started(self) -> Iterator[Edgecache]:
        began = time.monotonic()
        with serving(self._settings, self._folder) as server:
            eventually(lambda: server.admin("/readyz")[0] == 200, "it is ready")
            self.starts.append(time.monotonic() - began)
            yield server

    def _check(self, server: Edgecache) -> None:
        """Everything, and half of it from the cache: it was read before."""
        self.counts["slices"] += int(server.total("edgecache_cache_slices"))
        with Client(server.url) as client:
            for key in self._choose.sample(list(self._objects), KEYS // 2):
                reply = get_patiently(client, f"/{key}")
                assert (reply.status, reply.body) == (200, self._objects[key].read())
                self.counts["hits"] += "hit" in reply.cache_status
        self.counts["torn"] += int(server.total("edgecache_integrity_failures_total"))

    def _read_on(self, server: Edgecache, number: int, over: Event) -> None:
        choose = random.Random(number)
        with Client(server.url) as client:
            while not over.is_set():
                key, body = choose.choice(list(self._objects.items()))
                start = choose.randrange(body.length)
                try:
                    reply = client.get(f"/{key}", {"Range": f"bytes={start}-"})
                except (*CUT, OSError):
                    client.close()  # killed
                    continue
                assert (reply.status, reply.body) == (206, body.read(start))
                self._answers += 1

    def _files(self) -> set[str]:
        root = self._folder / "cache"
        return {str(path.relative_to(root)) for path in slice_files(root)}

    def _rows(self) -> set[str]:
        database = f"{(self._folder / 'cache' / 'cache.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as connection:
            return {key for (key,) in connection.execute("SELECT key FROM Cache WHERE mode = 2")}

    def _orphans(self) -> set[str]:
        files = self._files()  # first: what is written meanwhile has its row last
        return files - self._rows()

    def _missing(self) -> set[str]:
        return self._rows() - self._files()


def run_rounds(origin: OriginThread, folder: Path, workers: int, count: int) -> None:
    rounds = Rounds(origin, folder, workers)
    for _ in range(count):
        rounds.run()
    starts = sorted(rounds.starts)
    print(
        f"{count} kills, {workers} workers: {dict(rounds.counts)}; "
        f"start: median {starts[count // 2]:.2f} s, worst {starts[-1]:.2f} s"
    )
    assert starts[-1] < START
    assert rounds.counts["hits"] > 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_kill_not_one_byte_is_wrong(
    runpod_origin: OriginThread, tmp_path: Path, workers: int
) -> None:
    run_rounds(runpod_origin, tmp_path, workers, 10)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_hundred_kills_not_one_byte_is_wrong(
    runpod_origin: OriginThread, tmp_path: Path, workers: int, asked_for: None
) -> None:
    run_rounds(runpod_origin, tmp_path, workers, 100)
