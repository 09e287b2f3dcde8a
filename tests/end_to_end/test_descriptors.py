"""More connections than descriptors: what runs goes on, new ones wait or are refused, no more."""

import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conftest import require
from tests.end_to_end.children import all_of, cpu_seconds
from tests.end_to_end.clients import CUT, Client, Reply
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, asking, serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
DESCRIPTORS = 128
CONNECTIONS = 400


def connected(server: Edgecache) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def answer(server: Edgecache, key: str) -> Reply | None:
    with suppress(*CUT, TimeoutError), Client(server.url, timeout=3) as client:
        return client.get(f"/{key}")
    return None


def test_more_connections_than_descriptors(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    cached, fetched, small = "outputs/cached.mp4", "outputs/fetched.mp4", "outputs/small.png"
    film = Pattern(12 * MIB, seed=51)
    for key in (cached, fetched):
        origin.put(key, film)
    origin.put(small, b"picture")
    settings = settings_for(origin.origin.settings, tmp_path, listen={"workers": workers})
    limit = (require("prlimit"), f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    with serving(settings, tmp_path, under=limit) as server, ExitStack() as stack:
        for key in (cached, small):
            assert answer(server, key)
        server.idle()
        held = stack.enter_context(origin.held(fetched, after=MIB // 2))
        downloads = [stack.enter_context(asking(server, key)) for key in (cached, fetched)]
        bodies = [download.recv(1000) for download in downloads]
        held.wait()
        processes = all_of(server)
        before = sum(map(cpu_seconds, processes))
        crowd = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        seen = [answer(server, small) for _ in range(6)]
        assert {reply.status for reply in seen if reply} <= {200, 503}
        time.sleep(2)  # in which a loop that spins would spin
        used = sum(map(cpu_seconds, processes)) - before
        assert used < 1.5
        held.release()
        for number, download in enumerate(downloads):
            while len(bodies[number].partition(b"\r\n\r\n")[2]) < len(film):
                piece = download.recv(MIB)
                assert piece, "cut"
                bodies[number] += piece
            assert bodies[number].partition(b"\r\n\r\n")[2] == film.read()
        for one in crowd:
            one.close()
        eventually(lambda: answer(server, small), "it answers again", within=10)
        assert answer(server, cached)
        origin.put("outputs/later.png", b"later")
        for _ in range(8):
            reply = answer(server, "outputs/later.png")
            assert reply is not None
            assert reply.body == b"later"
        assert server.admin("/readyz") == (200, "ready\n")
        assert server.stop() == 0
        assert server.stderr.find("Traceback") is None, str(server.stderr)
