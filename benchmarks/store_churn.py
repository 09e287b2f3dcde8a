"""Requests over a working set larger than the cache: what each server evicts, keeps and takes.

Rule of this module: the client is a process of its own, with a fixed seed, the same for every
server; what the caches take is what the file system says, so deleted files that are still open
count, and nothing else may write there meanwhile.
"""

import os
import random
import selectors
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path

from benchmarks import client
from benchmarks.misses import sent_by
from benchmarks.servers import Running
from benchmarks.steady import percentile, without_collections

KIB, MIB = 2**10, 2**20
CONNECTIONS = 16
SKEW = 0.8
SEED = 4
WARMING = 1000  # the first seed of the requests that fill the caches
TIMES = 4  # the working set is so much larger than the cache
SAMPLE_EVERY = 0.05
LIMIT = 20.0  # seconds without an answer
SETTLING = 1.0  # seconds for what is written behind the answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """`sent` and `bought` in bytes; `hit` is a share of the requests; milliseconds of hits; `cpu`
    in microseconds for each request; `used`: the highest use of the disk / the limit."""

    rate: float
    megabytes: float
    bought: float
    hit: float
    p50: float
    p99: float
    cpu: float
    used: float


@dataclass(slots=True)
class Visit:
    """What the client saw."""

    seconds: float
    requests: int
    sent: int
    hits: list[float]


def lengths(footprint: int) -> list[int]:
    """Of the objects, most popular first: as many of 64 KiB as of 1 MiB."""
    count = footprint // (MIB + 64 * KIB)
    found = [MIB, 64 * KIB] * count
    random.Random(SEED).shuffle(found)
    return found


def paths(footprint: int, seed: int) -> Iterator[tuple[str, int]]:
    """Popularity falls as one over the rank to the power of SKEW."""
    objects = lengths(footprint)
    weights = list(accumulate((rank + 1) ** -SKEW for rank in range(len(objects))))
    choice = random.Random(seed)
    while True:
        for rank in choice.choices(range(len(objects)), cum_weights=weights, k=1000):
            yield f"/outputs/{objects[rank]}-churn{rank}.webp", objects[rank]


class Visitor:
    """One connection, always busy."""

    def __init__(self, port: int) -> None:
        self.socket = client.connect(port, LIMIT)
        self.left = 0
        self.hit = False
        self.began = 0.0
        self.length = 0
        self._head = b""

    def ask(self, path: str, length: int) -> None:
        self.began, self.left, self.length, self._head = time.perf_counter(), length, length, b""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def read(self, buffer: memoryview) -> bool:
        """Whether the answer is whole now."""
        count = self.socket.recv_into(buffer)
        if not count:
            raise SystemExit("the server closed a connection")
        if self._head.endswith(b"\r\n\r\n"):
            self.left -= count
            return self.left == 0
        head, end, start = (self._head + buffer[:count]).partition(b"\r\n\r\n")
        self._head = head + end
        if end:
            status, fields = client.parse_head(head.decode("latin-1"))
            if status != 200 or int(fields["content-length"]) != self.length:
                raise SystemExit(f"not the answer that was wanted: {head[:500]!r}")
            self.hit = client.is_hit(fields)
            self.left -= len(start)
        return self.left == 0


def visit(port: int, footprint: int, seconds: float, seed: int, prefix: str = "") -> Visit:
    """Run in a process of its own."""
    wanted, found, buffer = paths(footprint, seed), Visit(0.0, 0, 0, []), memoryview(bytearray(MIB))

    def ask(one: Visitor) -> None:
        path, length = next(wanted)
        one.ask(prefix + path, length)

    with ExitStack() as stack, without_collections():
        chooser = stack.enter_context(selectors.DefaultSelector())
        began, busy = time.perf_counter(), CONNECTIONS
        for _ in range(CONNECTIONS):
            one = Visitor(port)
            stack.enter_context(one.socket)
            chooser.register(one.socket, selectors.EVENT_READ, one)
            ask(one)
        while busy:
            ready = chooser.select(LIMIT)
            if not ready:
                raise SystemExit(f"no answer within {LIMIT:g} s")
            for key, _ in ready:
                one = key.data
                if not one.read(buffer):
                    continue
                now = time.perf_counter()
                found.requests, found.sent = found.requests + 1, found.sent + one.length
                if one.hit:
                    found.hits.append(now - one.began)
                if now - began < seconds:
                    ask(one)
                else:
                    chooser.unregister(one.socket)
                    busy -= 1
        found.seconds = time.perf_counter() - began
    return found


@contextmanager
def sampling(cache: Path) -> Iterator[list[int]]:
    """What that cache takes of the disk, every now and then, if nobody else writes there."""
    found = [taken(cache)]
    base, ended = free(cache) + found[0], threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_EVERY):
            found.append(base - free(cache))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield found
    finally:
        ended.set()
        sampler.join()


def free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bfree * disk.f_frsize


def taken(folder: Path) -> int:
    """Bytes on disk of all that is in it; what is removed meanwhile is not."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found += path.lstat().st_blocks * 512
    return found


def in_process(port: int, footprint: int, seconds: float, seed: int) -> Visit:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(visit, port, footprint, seconds, seed).result()


def measure(
    server: Running, origin: Running, cache: Path, limit: int, *, seconds: float, seed: int
) -> Churn:
    """One round of a server whose cache is full."""
    sent_by(origin)
    cpu = server.cpu_seconds()
    with sampling(cache) as used:
        seen = in_process(server.port, TIMES * limit, seconds, seed)
        time.sleep(SETTLING)
    cpu = server.cpu_seconds() - cpu
    bought = sum(one.size for one in sent_by(origin))
    return Churn(
        rate=seen.requests / seen.seconds,
        megabytes=seen.sent / seen.seconds / 1e6,
        bought=bought / seen.sent,
        hit=len(seen.hits) / seen.requests,
        p50=percentile(seen.hits, 0.5),
        p99=percentile(seen.hits, 0.99),
        cpu=cpu / seen.requests * 1e6,
        used=max(used) / limit,
    )


def fill(server: Running, limit: int, seconds: float) -> None:
    """Until half as much again as the cache holds was a miss."""
    missed, seed = 0.0, WARMING
    while missed < 1.5 * limit:
        seen = in_process(server.port, TIMES * limit, seconds, seed)
        missed += seen.sent * (1 - len(seen.hits) / seen.requests)
        seed += 1
