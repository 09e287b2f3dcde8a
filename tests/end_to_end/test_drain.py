"""SIGTERM: running answers end, new ones are refused, and nobody holds the process for ever."""

import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import require
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import environment, eventually, running
from tests.end_to_end.serving import Edgecache, asking, serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20


def refuses(server: Edgecache) -> bool:
    url = urlsplit(server.url)
    try:
        socket.create_connection((url.hostname, url.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_running_answer_ends_complete_and_new_connections_are_refused(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    key = "outputs/drained.mp4"
    movie = Pattern(4 * MIB, seed=12)
    origin.put(key, movie)
    file = tmp_path / "drained.mp4"
    with (
        serving(
            settings_for(origin.origin.settings, tmp_path, listen={"workers": workers}), tmp_path
        ) as server,
        origin.held(key, after=MIB // 2) as held,  # a download that takes its time
    ):
        download = (require("curl"), "-q", "-sS", "--max-time", "20", "-o", file)
        with running(*download, f"{server.url}/{key}", env=environment()) as client:
            held.wait()
            server.signal(signal.SIGTERM)
            server.stderr.wait("draining")
            eventually(lambda: refuses(server), "new connections are refused")
            assert server.admin("/readyz") == (503, "draining\n")
            assert server.process.poll() is None
            held.release()
            assert client.ended() == 0, str(client.stderr)
        assert server.ended() == 0
    assert file.read_bytes() == movie.read()
    assert server.access(f"/{key}")[0]["bytes"] == len(movie)


def test_a_client_that_does_not_read_holds_the_end_up_for_the_drain_timeout_only(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    origin.put("outputs/unread.mp4", Pattern(64 * MIB, seed=13))
    settings = settings_for(
        origin.origin.settings, tmp_path, listen={"drain_timeout": "1500ms", "workers": workers}
    )
    with serving(settings, tmp_path) as server, asking(server, "outputs/unread.mp4") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        server.signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.ended() == 0
        took = time.monotonic() - began
    assert 1.4 < took < 2.9
    assert server.stderr.find("Traceback") is None


def test_an_idle_connection_does_not_hold_the_end_up(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    """Keep-alive, with half a minute to drain: it ends at once."""
    origin.put("outputs/idle.png", b"picture")
    settings = settings_for(origin.origin.settings, tmp_path, listen={"workers": workers})
    with serving(settings, tmp_path) as server, asking(server, "outputs/idle.png") as client:
        eventually(lambda: client.recv(4096).endswith(b"picture"), "the answer")
        server.signal(signal.SIGTERM)
        assert server.ended(within=10) == 0
        assert client.recv(1) == b""
