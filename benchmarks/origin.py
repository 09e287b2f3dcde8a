"""A far, slow and breaking origin: edgecache beside nginx with `slice 1m` and Varnish.

The origin answers after 50 ms and gives each connection 20 MB/s. Measured: a cold read of one large
object; a seek to the middle of another while its first read runs; and, where one in a hundred of
the origin's answers breaks off at a random byte, cold reads of many objects, each checked by length
and hash. Every measurement has a fresh server with an empty cache. What was bought is what the
origin counted.

Example: python -m benchmarks.origin --rounds 3
         python -m benchmarks.origin --cases whole seek --size 256
"""

import argparse
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from benchmarks import client, report, servers
from benchmarks.bucket import digest
from benchmarks.misses import sent_by
from benchmarks.programs import environment, have, need
from benchmarks.servers import Running

KIB, MIB, GIB = 2**10, 2**20, 2**30
LATENCY = 0.050
RATE = 20e6
BREAK_SHARE = 0.01
RANGE = 256 * KIB
READ = 16 * MIB
UNDER_WAY = 4 * MIB  # what the first reader has when another one seeks
CASES = ("whole", "seek", "broken")


Start = Callable[[Path, int], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    seconds: float
    cpu: float  # the server's seconds
    requests: int  # to the origin
    bought: float  # bytes from the origin / bytes of the object


@dataclass(frozen=True, slots=True, kw_only=True)
class Seek:
    first_byte: float  # ms from the request on, the origin's latency taken off


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Of distinct objects, several at once, where answers of the origin break off."""

    reads: int
    failed: int  # cut off, or another status than 200
    wrong: int  # whole, and other bytes
    seconds: float
    answers: int  # of the origin
    broken: int  # of these
    bought: float


def whole(server: Running, origin: Running, options: argparse.Namespace) -> Whole:
    length = options.size * MIB
    sent_by(origin)
    cpu = server.cpu_seconds()
    reply = client.get(server.port, f"/outputs/{length}-cold.mp4")
    cpu = server.cpu_seconds() - cpu
    if (reply.status, reply.length, reply.digest) != (200, length, digest(0, length)):
        raise SystemExit(f"{server.name}: wrong bytes {reply}")
    sent = sent_by(origin)
    bought = sum(one.size for one in sent) / length
    return Whole(seconds=reply.seconds, cpu=cpu, requests=len(sent), bought=bought)


def seek(server: Running, origin: Running, options: argparse.Namespace) -> Seek:
    length = options.size * MIB
    path, start = f"/outputs/{length}-seek.mp4", length // 2
    with reading(server.port, path, UNDER_WAY):
        range_ = f"bytes={start}-{start + RANGE - 1}"
        reply = client.get(server.port, path, range_=range_)
    if (reply.status, reply.digest) != (206, digest(start, start + RANGE)):
        raise SystemExit(f"{server.name}: wrong bytes {reply}")
    return Seek(first_byte=(reply.first_byte - reply.asked) / 1e6 - LATENCY * 1e3)


@contextmanager
def reading(port: int, path: str, least: int) -> Iterator[None]:
    """Another reads all of it, as fast as it comes, and has that many bytes already."""
    under_way, leaving = threading.Event(), threading.Event()

    def read() -> None:
        buffer, count = bytearray(2**18), 0
        try:
            while not leaving.is_set() and (got := connection.recv_into(buffer)):
                count += got
                if count >= least:
                    under_way.set()
        finally:
            under_way.set()

    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(client.request_head(path))
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        under_way.wait()
        try:
            yield
        finally:
            leaving.set()
            reader.join()


def broken(server: Running, origin: Running, options: argparse.Namespace) -> Reads:
    expected = digest(0, READ)
    sent_by(origin)

    def read(number: int) -> str:
        try:
            reply = client.get(server.port, f"/outputs/{READ}-broken-{number}.mp4")
        except OSError:
            return "failed"
        if reply.status != 200:
            return "failed"
        return "right" if (reply.length, reply.digest) == (READ, expected) else "wrong"

    began = monotonic()
    with ThreadPoolExecutor(options.clients) as readers:
        results = list(readers.map(read, range(options.reads)))
    seconds = monotonic() - began
    sent = sent_by(origin)
    return Reads(
        reads=len(results),
        failed=results.count("failed"),
        wrong=results.count("wrong"),
        seconds=seconds,
        answers=len(sent),
        broken=sum(one.broken for one in sent),
        bought=sum(one.size for one in sent) / (options.reads * READ),
    )


Result = Whole | Seek | Reads
Measure = Callable[[Running, Running, argparse.Namespace], Result]
MEASURES: dict[str, Measure] = {"whole": whole, "seek": seek, "broken": broken}
Found = dict[str, dict[str, list[Any]]]  # case -> server -> one result a round


def measure(case: str, start: Start, options: argparse.Namespace) -> Result:
    """On a fresh server, whose cache is removed behind it: three of them may not fit a disk."""
    share = BREAK_SHARE if case == "broken" else 0.0
    with (
        report.workplace(options.dir) as directory,
        servers.origin(latency=LATENCY, rate=RATE, break_share=share) as origin,
        start(directory, origin.port) as server,
    ):
        return MEASURES[case](server, origin, options)


def cache_size(options: argparse.Namespace) -> tuple[int, str]:
    """Of each server, and what there is to say of it: a cache that is too small evicts."""
    reads = options.reads * READ if "broken" in options.cases else 0
    needed = max(options.size * MIB, reads) * 9 // 8
    with report.workplace(options.dir) as directory:
        room = shutil.disk_usage(directory).free // 2
    size = min(needed, room)
    said = f"{size / GIB:.1f} GiB of each server, {2 * room / GIB:.0f} GiB of the disk are free"
    return size, said + (": all of it fits" if size == needed else ": less than is read")


def rows_of(found: Found, options: argparse.Namespace) -> list[list[str]]:
    rows: list[list[str]] = []
    if "whole" in found:
        rows += whole_rows(found["whole"], f"cold {options.size} MiB")
    if "seek" in found:
        name = "seek while it is read: ms to the first byte, less the origin's 50"
        rows.append([name, *each(found["seek"], "first_byte", ".1f"), "<= 20"])
    if "broken" in found:
        rows += broken_rows(found["broken"], f"1 % broken, {options.reads} reads of 16 MiB")
    return rows


def whole_rows(found: dict[str, list[Whole]], name: str) -> list[list[str]]:
    ours = [one.seconds for one in found["edgecache"]]
    asked = {"nginx": 0.3, "varnish": 0.5}
    ratios = [
        str(report.ratio(ours, [one.seconds for one in many])) if peer in asked else ""
        for peer, many in found.items()
    ]
    wanted = ", ".join(f"<= {asked[peer]}" for peer in found if peer in asked)
    return [
        [f"{name}: seconds", *each(found, "seconds", ".1f"), ""],
        [f"{name}: edgecache's seconds / theirs", *ratios, wanted],
        [f"{name}: bytes bought / covered", *each(found, "bought", ".3f"), "<= 1.02"],
        [f"{name}: requests to the origin", *each(found, "requests", ".0f"), ""],
        [f"{name}: CPU seconds", *each(found, "cpu", ".1f"), ""],
    ]


def broken_rows(found: dict[str, list[Reads]], name: str) -> list[list[str]]:
    """Failures and wrong bytes of all rounds together."""
    return [
        [f"{name}: failed", *sums(found, "failed"), "0"],
        [f"{name}: of wrong bytes", *sums(found, "wrong"), "0"],
        [f"{name}: answers that the origin broke off", *sums(found, "broken"), ""],
        [f"{name}: of so many", *sums(found, "answers"), ""],
        [f"{name}: bytes bought / covered", *each(found, "bought", ".3f"), "<= 1.02"],
        [f"{name}: seconds", *each(found, "seconds", ".1f"), ""],
    ]


def each(found: dict[str, list[Any]], what: str, form: str) -> list[str]:
    """Of each server the median, and the worst in brackets where there were several rounds."""
    shown = []
    for many in found.values():
        values = [getattr(one, what) for one in many]
        middle, worst = format(median(values), form), format(max(values), form)
        shown.append(middle if len(values) == 1 else f"{middle} ({worst})")
    return shown


def sums(found: dict[str, list[Any]], what: str) -> list[str]:
    return [f"{sum(getattr(one, what) for one in many):,}" for many in found.values()]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of whole reads and seeks")
    parser.add_argument("--broken-rounds", type=int, default=1, help="of reads that break")
    parser.add_argument("--size", type=int, default=1024, help="MiB of the whole read and the seek")
    parser.add_argument("--reads", type=int, default=1000, help="of 16 MiB each that break")
    parser.add_argument("--clients", type=int, default=8, help="that read at once there")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.size, options.reads = 1, 32, 16
    return options


def run(peers: dict[str, Start], options: argparse.Namespace) -> Found:
    found: Found = {case: {name: [] for name in peers} for case in options.cases}
    for case in options.cases:
        rounds = options.broken_rounds if case == "broken" else options.rounds
        for number in range(rounds):
            for name, start in peers.items():
                report.note(f"{case}, round {number + 1} of {rounds}: {name} ...")
                found[case][name].append(measure(case, start, options))
    return found


def main() -> None:
    options = parse()
    need("nginx")
    programs = ["nginx", *(["varnishd"] if have("varnishd") else [])]
    size, said = cache_size(options)
    peers: dict[str, Start] = {"nginx": partial(servers.nginx, workers=options.workers, size=size)}
    if have("varnishd"):
        peers["varnish"] = partial(servers.varnish, workers=options.workers, size=size)
    peers["edgecache"] = partial(servers.edgecache, workers=options.workers, size=size)
    circumstances = environment(*programs) | {
        "workers": f"{options.workers} of each server",
        "origin": f"{LATENCY * 1e3:.0f} ms away, {RATE / 1e6:.0f} MB/s a connection",
        "rounds": f"{options.rounds}, {options.broken_rounds} of reads that break, by "
        f"{options.clients} clients at once; a fresh server for each measurement",
        "caches": said,
        "varnish": "file storage" if have("varnishd") else "not found on PATH: left out",
    }
    found = run(peers, options)
    if options.json:
        results = {
            case: {name: [asdict(one) for one in many] for name, many in by_name.items()}
            for case, by_name in found.items()
        }
        report.show_json({"circumstances": circumstances, "origin": results})
    else:
        columns = [f"origin {LATENCY * 1e3:.0f} ms away, {RATE / 1e6:.0f} MB/s", *peers, "asked"]
        report.show("Origin: median (worst)", circumstances, columns, rows_of(found, options))


if __name__ == "__main__":
    main()
