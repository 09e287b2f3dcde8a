"""The benchmarks start: each says what it measures, and an example of it. And what they count."""

import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import policy, steady, store_alone, store_churn
from benchmarks.origin import Origin

ROOT = Path(__file__).parent.parent


NAMES = ["hits", "latency", "misses", "memory", "disk", "store", "start", "profiles", "origin"]
NAMES += ["policy"]


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


async def test_the_store_alone_takes_and_evicts_what_it_says(tmp_path: Path) -> None:
    found = await store_alone.puts(tmp_path / "puts", 4096, 40, full=False)
    assert found.rate > 0
    assert found.p50 <= found.p99
    gone = await store_alone.evictions(tmp_path / "evictions", 200)
    assert gone.slices > 100
    assert gone.p99 > 0


def test_the_same_requests_in_every_run_and_the_popular_ones_more_often() -> None:
    first, again = (list(islice(store_churn.paths(64 * 2**20, seed=1), 3000)) for _ in range(2))
    assert first == again
    count = Counter(path for path, _ in first)
    objects = len(store_churn.lengths(64 * 2**20))
    assert count.most_common(1)[0][1] > 3 * 3000 / objects
    assert len(count) > 0.9 * objects


def test_a_visitor_counts_what_it_was_sent() -> None:
    with answering(0.0) as port:
        found = store_churn.visit(port, 64 * 2**20, 0.2, seed=1, prefix="/bench")
    assert found.requests >= store_churn.CONNECTIONS
    assert found.sent >= found.requests * 64 * 2**10
    assert not found.hits  # the origin knows no cache


def test_what_a_cache_takes_of_the_disk_is_seen(tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(bytes(2**20))
    with store_churn.sampling(tmp_path) as used:
        pass
    assert used[0] >= 2**20


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
