"""Misses: cold 64 KiB objects, a cold 1 GiB read, first bytes of cold ranges, beside nginx.

The origin answers each request after 20 ms. 64 KiB objects are asked for once each, by wrk over 32
connections. Every round has a fresh server with an empty cache.
Bytes are checked by length and hash. "First byte after origin's" is the time from the origin's
first byte leaving it to the client's first byte, on the one monotonic clock of the machine.

Example: python -m benchmarks.misses --rounds 5
"""

import argparse
import json
import math
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median

from benchmarks import client, load, report, servers
from benchmarks.bucket import Sent, digest
from benchmarks.programs import environment, need
from benchmarks.servers import Running

KIB, MIB, GIB = 2**10, 2**20, 2**30
LATENCY = 0.020
RANGE = 256 * KIB
SMALL = 64 * KIB
SMALL_SECONDS = 4
SMALL_ASKED = 500  # a second
CHECKED = 20  # of the small ones, after the timed part
Start = Callable[[Path, int], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    seconds: float
    cpu: float  # the server's seconds
    first_byte: float  # after the origin's, ms
    requests: int  # to the origin
    bought: float  # bytes from the origin / bytes of the object


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranged:
    """Of one cold range each: ms after the origin's first byte, bytes bought / covered."""

    first_byte: float
    bought: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """Of 64 KiB objects, each asked for once."""

    rate: float  # a second
    cpu: float  # microseconds of the server's for each
    p50: float  # ms, as p99
    p99: float
    requests: float  # to the origin, for each


def sent_by(origin: Running) -> list[Sent]:
    """What the origin sent since the last call."""
    with socket.create_connection(("127.0.0.1", origin.port)) as connection:
        connection.sendall(client.request_head("/sent"))
        head, data = client.read_head(connection)
        length = int(client.parse_head(head)[1]["content-length"])
        while len(data) < length:
            data += connection.recv(2**20)
    return [Sent(*each) for each in json.loads(data)]


def whole(server: Running, origin: Running, length: int) -> Whole:
    sent_by(origin)
    cpu = server.cpu_seconds()
    reply = client.get(server.port, f"/outputs/{length}-cold.mp4")
    cpu = server.cpu_seconds() - cpu
    if (reply.status, reply.length, reply.digest) != (200, length, digest(0, length)):
        raise SystemExit(f"{server.name}: wrong bytes {reply}")
    sent = sent_by(origin)
    return Whole(
        seconds=reply.seconds,
        cpu=cpu,
        first_byte=(reply.first_byte - min(one.at for one in sent)) / 1e6,
        requests=len(sent),
        bought=sum(one.size for one in sent) / length,
    )


def small(server: Running, origin: Running, seconds: int, threads: int) -> Small:
    sent_by(origin)
    names = load.Names(path=f"/outputs/{SMALL}-small-%d.webp", count=10**9)
    took = load.run(server, names, seconds=seconds, threads=threads)
    sent = sent_by(origin)
    for path in {one.path for one in sent[:: len(sent) // CHECKED]}:
        reply = client.get(server.port, path.removeprefix("/bench"))
        if (reply.status, reply.length, reply.digest) != (200, SMALL, digest(0, SMALL)):
            raise SystemExit(f"{server.name}: wrong bytes {reply}")
    return Small(
        rate=took.rate,
        cpu=took.cpu,
        p50=took.p50,
        p99=took.p99,
        requests=len(sent) / len({one.path for one in sent}),
    )


def cold_ranges(server: Running, origin: Running, *, known: bool, count: int) -> list[Ranged]:
    """Ranges of objects that were never asked for, or seeks in one that is known."""
    choice = random.Random(count)
    if known:
        client.get(server.port, f"/outputs/{GIB}-seek.mp4", range_="bytes=0-0")
    slots = choice.sample(range(16, GIB // MIB - 2, 4), count)
    return [
        cold_range(
            server,
            origin,
            f"/outputs/{GIB}-{'seek' if known else number}.mp4",
            slot * MIB + choice.randrange(MIB),
        )
        for number, slot in enumerate(slots)
    ]


def cold_range(server: Running, origin: Running, path: str, start: int) -> Ranged:
    sent_by(origin)
    stop = start + RANGE
    reply = client.get(server.port, path, range_=f"bytes={start}-{stop - 1}")
    if (reply.status, reply.digest) != (206, digest(start, stop)):
        raise SystemExit(f"{server.name}: wrong bytes {reply}")
    sent = sent_by(origin)
    covered = (-(-stop // MIB) - start // MIB) * MIB
    return Ranged(
        first_byte=(reply.first_byte - min(one.at for one in sent)) / 1e6,
        bought=sum(one.size for one in sent) / covered,
    )


COLUMNS = ("cold, origin 20 ms away", "nginx", "edgecache", "edgecache/nginx", "asked")


@dataclass(frozen=True, slots=True)
class Round:
    small: Small
    whole: Whole
    unknown: list[Ranged]
    known: list[Ranged]


def measure(start: Start, directory: Path, origin: Running, options: argparse.Namespace) -> Round:
    length, count, seconds = extent(options.quick)
    threads = min(options.workers, load.MOST_THREADS)
    with start(directory, origin.port) as server:
        return Round(
            small(server, origin, seconds, threads),
            whole(server, origin, length),
            cold_ranges(server, origin, known=False, count=count),
            cold_ranges(server, origin, known=True, count=count),
        )


def rows_of(theirs: list[Round], ours: list[Round], length: int) -> list[list[str]]:
    size = f"{length // MIB} MiB"
    seconds = [[each.whole.seconds for each in rounds] for rounds in (theirs, ours)]
    speed = report.ratio(seconds[0], seconds[1])
    cpu = [[each.whole.cpu for each in rounds] for rounds in (theirs, ours)]
    return [
        *small_rows([[each.small for each in rounds] for rounds in (theirs, ours)]),
        [f"whole {size}: seconds", *middles(seconds, ".2f"), f"speed {speed}", ">= 1"],
        [f"whole {size}: CPU seconds", *middles(cpu, ".2f"), str(report.ratio(cpu[1], cpu[0])), ""],
        *rows(f"whole {size}", [[[each.whole] for each in rounds] for rounds in (theirs, ours)]),
        *rows("range, unknown object", [[each.unknown for each in r] for r in (theirs, ours)]),
        *rows("range, known object", [[each.known for each in r] for r in (theirs, ours)]),
    ]


def small_rows(peers: list[list[Small]]) -> list[list[str]]:
    def values(name: str) -> list[list[float]]:
        return [[getattr(one, name) for one in many] for many in peers]

    rates, cpu = values("rate"), values("cpu")
    waits = zip(middles(values("p50"), ".0f"), middles(values("p99"), ".0f"), strict=True)
    name = f"{SMALL // KIB} KiB objects"
    ratios = [str(report.ratio(many[1], many[0])) for many in (rates, cpu)]
    return [
        [f"{name}: a second", *middles(rates, ",.0f"), ratios[0], f">= {SMALL_ASKED}"],
        [f"{name}: us CPU each", *middles(cpu, ",.0f"), ratios[1], ""],
        [f"{name}: ms, p50 p99", *map(" ".join, waits), "", ""],
        [f"{name}: requests to the origin for each", *middles(values("requests"), ".2f"), "", ""],
    ]


def middles(many: list[list[float]], form: str) -> list[str]:
    return [format(median(values), form) for values in many]


def rows(name: str, peers: Sequence[Sequence[Sequence[Whole | Ranged]]]) -> list[list[str]]:
    """First byte and price of each server's samples, all rounds together."""
    samples = [[one for each in rounds for one in each] for rounds in peers]
    waits = [sorted(one.first_byte for one in many) for many in samples]
    shown = [f"{median(each):.1f} {each[math.ceil(0.95 * len(each)) - 1]:.1f}" for each in waits]
    prices = [f"{mean(one.bought for one in many):.3f}" for many in samples]
    return [
        [f"{name}: first byte after origin's, ms, p50 p95", *shown, "", "<= 10 ms"],
        [f"{name}: bytes bought / covered", *prices, "", "<= 1"],
    ]


def extent(quick: bool) -> tuple[int, int, int]:
    """(length of the whole object, cold ranges, seconds of small objects)."""
    return (64 * MIB, 5, 1) if quick else (GIB, 20, SMALL_SECONDS)


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    need("nginx", "wrk")
    rounds = 1 if options.quick else options.rounds
    length, count, seconds = extent(options.quick)
    peers: dict[str, Start] = {
        "nginx": partial(servers.nginx, workers=options.workers),
        "edgecache": partial(servers.edgecache, workers=options.workers),
    }
    circumstances = environment("nginx", "wrk") | {
        "workers": f"{options.workers} of each server",
        "rounds": f"{rounds}, a fresh server each: {seconds} s of {SMALL // KIB} KiB objects, "
        f"{count} cold ranges of {RANGE // KIB} KiB each",
    }
    found: dict[str, list[Round]] = {name: [] for name in peers}
    with (
        report.workplace(options.dir) as directory,
        servers.origin(latency=LATENCY) as origin,
    ):
        for number in range(rounds):
            for name, start in peers.items():
                report.note(f"round {number + 1} of {rounds}: {name} ...")
                found[name].append(measure(start, directory, origin, options))
    if options.json:
        results = {name: [asdict(one) for one in many] for name, many in found.items()}
        report.show_json({"circumstances": circumstances, "misses": results})
    else:
        table = rows_of(found["nginx"], found["edgecache"], length)
        report.show("Misses", circumstances, COLUMNS, table)


if __name__ == "__main__":
    main()
