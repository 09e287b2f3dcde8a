"""The benchmarks start: each says what it measures, and an example of it. And what they count."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks import policy, steady
from benchmarks.origin import Origin

ROOT = Path(__file__).parent.parent


NAMES = ["hits", "latency", "misses", "memory", "disk", "start", "profiles", "origin", "policy"]


@pytest.mark.parametrize("name", NAMES)
def test_help(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"Example: python -m benchmarks.{name}" in shown.stdout


def test_a_missing_program_is_named_with_the_way_to_get_it() -> None:
    command = [sys.executable, "-m", "benchmarks.hits", "--quick"]
    shown = subprocess.run(
        command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert "apt-get install wrk" in shown.stderr


@contextmanager
def answering(latency: float) -> Iterator[int]:
    """The port of an origin that takes so long for each answer."""
    origin = Origin(latency)

    def accept(server: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                threading.Thread(target=origin.serve, args=server.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("length", [9, 300_000])
def test_every_request_of_a_rate_is_answered(length: int) -> None:
    request = b"GET /bench/%d-a.mp4 HTTP/1.1\r\nHost: bench\r\n\r\n" % length
    with answering(0.0) as port:
        found = steady.run(port, lambda: request, rate=500, seconds=0.1)
    assert 0 < found.rate < 511  # 50 with 49 pauses
    assert 0 < found.p50 <= found.p99


def test_a_request_that_waits_for_a_connection_waits_in_the_figure() -> None:
    # 32 connections do 640 a second; of 200 that are due within 0.1 s the last ones end at 0.35 s.
    request = b"GET /bench/9-a.mp4 HTTP/1.1\r\nHost: bench\r\n\r\n"
    with answering(0.05) as port:
        found = steady.run(port, lambda: request, rate=2000, seconds=0.1)
    assert found.p99 > 200


def test_an_answer_that_is_not_wanted_ends_the_run() -> None:
    request = b"GET /nothing HTTP/1.1\r\nHost: bench\r\n\r\n"
    with answering(0.0) as port, pytest.raises(SystemExit, match="404"):
        steady.run(port, lambda: request, rate=100, seconds=0.1)


@pytest.mark.slow
def test_the_policies_are_as_good_as_their_reference() -> None:
    """On a small trace of media: bytes within 1.5 % of it or better, LRU to the digit, and never
    better than what knows the future."""
    found = list(policy.measure(policy.MEDIA_MINI))
    compared = [one for one in found if one.reference]
    assert len(compared) == 5
    for one in compared:
        assert one.reference
        assert one.lfuda.of_bytes <= 1.015 * one.reference.of_bytes
        assert one.lfuda.of_requests <= 1.015 * one.reference.of_requests
    assert [round(one.lru.of_bytes, 4) for one in found[:4]] == [1.084, 0.8726, 0.4623, 0.3715]
    for one in found:
        assert one.belady.of_bytes < one.lfuda.of_bytes < 1.001 * one.lru.of_bytes
