"""kill -9 of a worker or the keeper under load: what goes on, what waits, and what is counted."""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from tests.end_to_end.children import BACK, clients_of, kill, pid_of, serving_children
from tests.end_to_end.clients import CUT, Client, hammering
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, asking, serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
CHILDREN = ("keeper", "worker-1", "worker-2")
CONNECTIONS = 8
ROUTES = [f"/outputs/{number}/" for number in range(CONNECTIONS)]


@contextmanager
def several(origin: OriginThread, folder: Path, routes: Sequence[str]) -> Iterator[Edgecache]:
    settings = settings_for(origin.origin.settings, folder, routes=routes, listen={"workers": 2})
    with serving(settings, folder) as server:
        serving_children(server, *CHILDREN)
        yield server
        assert server.stop() == 0
        assert server.stderr.find("Traceback") is None, str(server.stderr)


class Loading:
    """Clients with a route and objects each, so that /metrics has their counts apart."""

    def __init__(self, origin: OriginThread, server: Edgecache, *, cold: bool = True) -> None:
        self._origin = origin
        self._server = server
        self._cold = cold
        self.whole = [0] * CONNECTIONS  # answers
        self.cut = [0] * CONNECTIONS
        self.ports = [0] * CONNECTIONS
        for number in range(CONNECTIONS):
            origin.put(f"outputs/{number}/small.png", Pattern(20_000, seed=number))
            origin.put(f"outputs/{number}/long.mp4", Pattern(3 * MIB, seed=number))
            with Client(server.url) as client:
                for name in ("small.png", "long.mp4"):
                    assert client.get(f"/outputs/{number}/{name}").status == 200
                    self.whole[number] += 1
        server.idle()

    def __call__(self, number: int, over: Event) -> None:
        with Client(self._server.url) as client:
            for turn in count():
                if over.is_set():
                    return
                name, body, fields = self._question(number, turn)
                try:
                    reply = client.get(f"/outputs/{number}/{name}", fields)
                except CUT:
                    self.cut[number] += 1
                    client.close()
                    continue
                self.ports[number] = client.port
                self.whole[number] += 1
                assert reply.status in (200, 206), f"{reply.status} {reply.body[:200]!r}"
                assert reply.body == body

    def _question(self, number: int, turn: int) -> tuple[str, bytes, dict[str, str]]:
        if turn % 3 == 0 and self._cold:
            name = f"{turn}.png"
            self._origin.put(f"outputs/{number}/{name}", b"%d" % turn)
            return name, b"%d" % turn, {}
        if turn % 3 == 1:
            start = turn * 997 % (2 * MIB)
            body = Pattern(3 * MIB, seed=number).read(start, start + MIB)
            return "long.mp4", body, {"Range": f"bytes={start}-{start + MIB - 1}"}
        return "small.png", Pattern(20_000, seed=number).read(), {}

    def progress(self) -> None:
        """Waits until every client that can go on has gone on."""
        before = sum(self.whole)
        eventually(lambda: sum(self.whole) > before + 10 * CONNECTIONS, "answers")


def check_folder(server: Edgecache, folder: Path) -> None:
    """Nothing but the index, the lock and slices, and no slice but those that are counted."""
    names = {path.name for path in (folder / "cache").glob("*") if path.is_file()}
    assert names <= {"cache.db", "cache.db-wal", "cache.db-shm", "lock"}
    slices = [path for path in (folder / "cache").glob("v2-*/*/*") if path.is_file()]
    assert len(slices) == server.total("edgecache_cache_slices")


def test_a_worker_that_is_killed_takes_only_its_own_connections_along(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    with several(runpod_origin, tmp_path, ROUTES) as server:
        loading = Loading(runpod_origin, server)
        with hammering(CONNECTIONS, loading):
            loading.progress()
            for victim in ("worker-1", "worker-2", "worker-1"):
                eventually(lambda: all(loading.ports), "all are connected")
                theirs = clients_of(pid_of(server, victim))
                hit = [number for number, port in enumerate(loading.ports) if port in theirs]
                before = list(loading.cut)
                took = kill(server, victim)
                assert took < BACK
                with Client(server.url) as client:
                    assert client.get("/outputs/0/small.png").status == 200
                    loading.whole[0] += 1
                loading.progress()
                cut = [n for n, (a, b) in enumerate(zip(before, loading.cut, strict=True)) if b > a]
                assert set(cut) <= set(hit)
        server.idle()
        counted = [server.total("edgecache_http_requests_total", route=route) for route in ROUTES]
        # The last answer of a killed worker may be whole, but not counted: that comes after it.
        for seen, cut_off, there in zip(loading.whole, loading.cut, counted, strict=True):
            assert seen - cut_off <= there <= seen + cut_off
        assert sum(loading.cut) > 0
        check_folder(server, tmp_path)
        for line in server.stdout:
            assert json.loads(line)["status"] in (200, 206, 499)


def test_hits_go_on_and_misses_wait_while_the_keeper_is_killed(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    with several(runpod_origin, tmp_path, ROUTES) as server:
        loading = Loading(runpod_origin, server, cold=False)
        runpod_origin.put("outputs/film.mp4", Pattern(24 * MIB, seed=5))
        with Client(server.url) as client:
            assert len(client.get("/outputs/film.mp4").body) == 24 * MIB
            server.idle()
        with ExitStack() as stack:
            film = stack.enter_context(asking(server, "outputs/film.mp4"))
            begun = film.recv(100)
            stack.enter_context(hammering(CONNECTIONS, loading))
            loading.progress()
            for number in range(3):
                runpod_origin.put(f"outputs/cold-{number}.png", b"cold")
                pid = pid_of(server, "keeper")
                began = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                with Client(server.url) as client:  # it waits for the next one
                    reply = client.get(f"/outputs/cold-{number}.png")
                    assert (reply.status, reply.body) == (200, b"cold")
                took = time.monotonic() - began
                assert took < BACK
                assert pid_of(server, "keeper") != pid
                loading.progress()
            while piece := film.recv(2**20):
                begun += piece
                if len(begun.partition(b"\r\n\r\n")[2]) >= 24 * MIB:
                    break
        assert begun.partition(b"\r\n\r\n")[2] == Pattern(24 * MIB, seed=5).read()
        assert sum(loading.cut) == 0
        server.idle()
        for route, whole in zip(ROUTES, loading.whole, strict=True):
            assert server.total("edgecache_http_requests_total", route=route) == whole
        assert server.total("edgecache_http_requests_total", result="error") == 0
        check_folder(server, tmp_path)
