"""The benchmarks start: each says what it measures, and an example of it. And what they count."""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TextIO

import pytest

from benchmarks import client, origin, policy, steady, store_alone, store_churn
from benchmarks.bucket import Bucket, Manner, digest
from benchmarks.misses import sent_by
from benchmarks.servers import Running

ROOT = Path(__file__).parent.parent


NAMES = ["hits", "latency", "misses", "memory", "disk", "store", "start", "profiles", "origin"]
NAMES += ["policy", "bucket"]


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
def answering(manner: Manner, log: TextIO | None = None) -> Iterator[int]:
    """The port of an origin of that manner."""
    bucket = Bucket(manner, log)

    def accept(server: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                threading.Thread(target=bucket.serve, args=server.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("length", [9, 300_000])
def test_every_request_of_a_rate_is_answered(length: int) -> None:
    request = b"GET /bench/%d-a.mp4 HTTP/1.1\r\nHost: bench\r\n\r\n" % length
    with answering(Manner()) as port:
        found = steady.run(port, lambda: request, rate=500, seconds=0.1)
    assert 0 < found.rate < 511  # 50 with 49 pauses
    assert 0 < found.p50 <= found.p99


def test_a_request_that_waits_for_a_connection_waits_in_the_figure() -> None:
    # 32 connections do 640 a second; of 200 that are due within 0.1 s the last ones end at 0.35 s.
    request = b"GET /bench/9-a.mp4 HTTP/1.1\r\nHost: bench\r\n\r\n"
    with answering(Manner(latency=0.05)) as port:
        found = steady.run(port, lambda: request, rate=2000, seconds=0.1)
    assert found.p99 > 200


def test_an_answer_that_is_not_wanted_ends_the_run() -> None:
    request = b"GET /nothing HTTP/1.1\r\nHost: bench\r\n\r\n"
    with answering(Manner()) as port, pytest.raises(SystemExit, match="404"):
        steady.run(port, lambda: request, rate=100, seconds=0.1)


def running(port: int) -> Running:
    return Running(name="bucket", port=port, pid=os.getpid())


def test_an_origin_of_limited_rate_gives_each_connection_no_more() -> None:
    with answering(Manner(rate=4e6)) as port:
        replies = [client.get(port, "/400000-a.mp4") for _ in range(2)]
    for reply in replies:
        assert (reply.length, reply.digest) == (400_000, digest(0, 400_000))
        assert reply.seconds > 0.08  # of 0.1: the first piece comes at once


def test_an_origin_breaks_the_share_of_its_answers_and_says_what_it_sent(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    with path.open("w") as log, answering(Manner(break_share=0.5), log) as port:
        broken = 0
        for number in range(40):
            try:
                reply = client.get(port, f"/300000-{number}.mp4")
                assert reply.digest == digest(0, 300_000)
            except OSError:
                broken += 1
        sent = sent_by(running(port))
    assert 10 < broken < 30
    assert broken == sum(one.broken for one in sent)
    assert all(one.size < 300_000 if one.broken else one.size == 300_000 for one in sent)
    assert [json.loads(line)["size"] for line in path.read_text().splitlines()] == [
        one.size for one in sent
    ]


def test_what_arrives_of_a_broken_answer_is_what_was_sent() -> None:
    with answering(Manner(break_share=1.0)) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(client.request_head("/300000-a.mp4"))
            _, data = client.read_head(connection)
            with suppress(ConnectionResetError):
                while more := connection.recv(2**20):
                    data += more
        (sent,) = sent_by(running(port))
    assert (sent.broken, sent.size) == (True, len(data))


# benchmarks.origin, with the origin itself as the server that is measured


def test_clients_that_were_cut_off_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "READ", 300_000)
    options = argparse.Namespace(reads=20, clients=4)
    with answering(Manner(break_share=0.3)) as port:
        found = origin.broken(running(port), running(port), options)
    assert 0 < found.failed == found.broken < 20
    assert (found.wrong, found.answers, found.reads) == (0, 20, 20)
    assert found.bought < 1


def test_wrong_bytes_are_counted_and_not_taken_for_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "READ", 300_000)
    monkeypatch.setattr(origin, "digest", lambda start, stop: "another")
    options = argparse.Namespace(reads=3, clients=2, size=1)
    with answering(Manner()) as port:
        assert origin.broken(running(port), running(port), options).wrong == 3
        with pytest.raises(SystemExit, match="wrong bytes"):
            origin.whole(running(port), running(port), options)


def test_a_seek_is_measured_while_another_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "UNDER_WAY", 100_000)
    options = argparse.Namespace(size=1)
    with answering(Manner(latency=0.06, rate=4e6)) as port:
        found = origin.seek(running(port), running(port), options)
        sent = sent_by(running(port))
    assert found.first_byte > 9  # ms, more than the origin's 50
    assert {one.range for one in sent} == {"", "bytes=524288-786431"}


def test_the_table_has_all_servers_and_what_is_asked() -> None:
    whole = {
        name: [origin.Whole(seconds=s, cpu=1, requests=9, bought=1.0) for s in seconds]
        for name, seconds in (("nginx", (10, 12)), ("varnish", (5, 6)), ("edgecache", (3, 2)))
    }
    reads = origin.Reads(reads=9, failed=2, wrong=0, seconds=1, answers=9, broken=2, bought=1.0)
    broken = {name: [reads, reads] for name in whole}
    options = argparse.Namespace(size=1024, reads=9)
    rows = origin.rows_of({"whole": whole, "broken": broken}, options)
    assert rows[0] == ["cold 1024 MiB: seconds", "11.0 (12.0)", "5.5 (6.0)", "2.5 (3.0)", ""]
    assert rows[1][1:] == ["0.23 (0.17-0.30)", "0.47 (0.33-0.60)", "", "<= 0.3, <= 0.5"]
    assert rows[5] == ["1 % broken, 9 reads of 16 MiB: failed", "4", "4", "4", "0"]


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
    with answering(Manner()) as port:
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
