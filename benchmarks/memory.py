"""Memory: each process after hits, 10,000 idle connections, 200 clients that read 64 KiB/s each.

Sampled: resident bytes of edgecache's processes (RSS, and PSS, which counts shared pages by their
share), and of nginx's beside them. Slow clients read one large object and many, cold and warm; they
have small receive buffers, so that what waits for them waits in the server. Asked: at most 150 MB
and two slices for each active response, and less than 10 KB for each idle connection.

Example: python -m benchmarks.memory --seconds 20
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import client, report, resting, servers
from benchmarks.bucket import digest
from benchmarks.programs import environment, need
from benchmarks.resting import Held, Idle
from benchmarks.servers import Running

KIB, MIB = 2**10, 2**20
CLIENTS = 200
RATE = 64 * KIB  # bytes a second
STEP = 16 * KIB
LENGTH = 256 * MIB  # of each large object
WARM_LENGTH = 8 * MIB  # of each of many warm ones: enough for a minute, and soon read
LATENCY = 0.020
BASE_LIMIT = 150e6
SLICES_EACH = 2
EVERY = 0.1
HIT_SECONDS = 3
Start = Callable[[Path, int], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    case: str
    server: str
    idle: int
    highest_rss: int
    highest_pss: int
    read: int  # bytes that all clients have read
    slowest: int  # bytes that the slowest has

    @property
    def limit(self) -> float:
        return BASE_LIMIT + CLIENTS * SLICES_EACH * MIB


def paths(case: str, length: int) -> list[str]:
    """What each client reads: `same` object, or `distinct` ones."""
    numbers = [0] * CLIENTS if case.startswith("same") else range(CLIENTS)
    return [f"/outputs/{length}-{case.replace(' ', '-')}-{number}.mp4" for number in numbers]


async def read_slowly(port: int, path: str, until: float, counts: list[int], number: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STEP)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, client.request_head(path))
        buffer = bytearray(STEP)
        while (now := loop.time()) < until:
            count = await loop.sock_recv_into(connection, buffer)
            if not count:
                raise ConnectionError(f"{path}: cut after {counts[number]} bytes")
            counts[number] += count
            await asyncio.sleep(max(0.0, count / RATE - (loop.time() - now)))


async def crowd(server: Running, case: str, wanted: list[str], seconds: float) -> Sample:
    loop = asyncio.get_running_loop()
    idle = server.memory()
    until = loop.time() + seconds
    counts = [0] * CLIENTS
    highest = {"Rss": idle, "Pss": 0}
    async with asyncio.TaskGroup() as readers:
        for number, path in enumerate(wanted):
            readers.create_task(read_slowly(server.port, path, until, counts, number))
        while loop.time() < until:
            for what in highest:
                highest[what] = max(highest[what], server.memory(what))
            await asyncio.sleep(EVERY)
    return Sample(
        case=case,
        server=server.name,
        idle=idle,
        highest_rss=highest["Rss"],
        highest_pss=highest["Pss"],
        read=sum(counts),
        slowest=min(counts),
    )


def cases() -> Iterator[tuple[str, int]]:
    yield "distinct cold", LENGTH
    yield "same cold", LENGTH
    yield "distinct warm", WARM_LENGTH
    yield "same warm", LENGTH


def warm(server: Running, wanted: list[str], length: int) -> None:
    expected = digest(0, length)
    for path in sorted(set(wanted)):
        if client.get(server.port, path).digest != expected:
            raise SystemExit(f"{server.name} {path}: wrong bytes")


def measure(name: str, start: Start, directory: Path, seconds: float) -> Iterator[Sample]:
    for case, length in cases():
        report.note(f"{name}: {case} ...")
        with servers.origin(latency=LATENCY) as origin, start(directory, origin.port) as server:
            wanted = paths(case, length)
            if case.endswith("warm"):
                warm(server, wanted, length)
            yield asyncio.run(crowd(server, case, wanted, seconds))


def at_rest(start: Start, directory: Path, quick: bool) -> tuple[list[Held], Idle]:
    with servers.origin() as origin, start(directory, origin.port) as server:
        held = resting.after_hits(server, 1 if quick else HIT_SECONDS)
        return held, resting.idle(server, 1000 if quick else resting.CONNECTIONS)


REST_COLUMNS = ("after hits", "RSS, MB", "PSS, MB")
IDLE_COLUMNS = ("idle connections", "number", "RSS of each, KB", "PSS of each, KB", "asked")
COLUMNS = (
    f"{CLIENTS} slow clients",
    "server",
    "before, MB",
    "highest RSS, MB",
    "highest PSS, MB",
    "asked: below, MB",
    "each client read, KiB",
    "slowest, KiB",
)


def row(sample: Sample) -> list[str]:
    ours = sample.server == "edgecache"
    return [
        sample.case,
        sample.server,
        f"{sample.idle / 1e6:.0f}",
        f"{sample.highest_rss / 1e6:.0f}",
        f"{sample.highest_pss / 1e6:.0f}",
        f"{sample.limit / 1e6:.0f}" if ours else "",
        f"{sample.read / CLIENTS / KIB:.0f}",
        f"{sample.slowest / KIB:.0f}",
    ]


def rest_rows(held: list[Held]) -> list[list[str]]:
    rows = [(f"{one.server} {one.process}", one.rss, one.pss) for one in held]
    for name in dict.fromkeys(one.server for one in held):
        own = [one for one in held if one.server == name]
        rows.append((f"{name}, all", sum(one.rss for one in own), sum(one.pss for one in own)))
    return [[name, f"{rss / 1e6:.1f}", f"{pss / 1e6:.1f}"] for name, rss, pss in sorted(rows)]


def idle_row(idle: Idle) -> list[str]:
    each = [f"{grown / idle.connections / 1e3:.2f}" for grown in (idle.rss, idle.pss)]
    asked = f"< {resting.ASKED / 1e3:.0f}" if idle.server == "edgecache" else ""
    return [idle.server, f"{idle.connections:,}", *each, asked]


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each case")
    options = parser.parse_args()
    need("nginx", "wrk")
    starts: dict[str, Start] = {
        "nginx": partial(servers.nginx, workers=options.workers),
        "edgecache": partial(servers.edgecache, workers=options.workers),
    }
    seconds = 3.0 if options.quick else options.seconds
    circumstances = environment("nginx", "wrk") | {
        "workers": f"{options.workers} of each server",
        "clients": f"{CLIENTS}, {RATE // KIB} KiB/s each",
    }
    with report.workplace(options.dir) as directory:
        rests = [at_rest(start, directory, options.quick) for start in starts.values()]
        samples = [
            sample
            for name, start in starts.items()
            for sample in measure(name, start, directory, seconds)
        ]
    held, idle = [one for many, _ in rests for one in many], [one for _, one in rests]
    if options.json:
        found: dict[str, Sequence[Any]] = {"rest": held, "idle": idle, "memory": samples}
        results = {name: [asdict(one) for one in many] for name, many in found.items()}
        report.show_json({"circumstances": circumstances} | results)
    else:
        samples.sort(key=lambda sample: [case for case, _ in cases()].index(sample.case))
        report.show("At rest", circumstances, REST_COLUMNS, rest_rows(held))
        report.show("Idle connections", {}, IDLE_COLUMNS, [idle_row(one) for one in idle])
        report.show("Slow clients", {}, COLUMNS, [row(sample) for sample in samples])


if __name__ == "__main__":
    main()
