"""Memory: 200 clients that read 64 KiB/s each, cold and warm, of one large object and of many.

Sampled: resident bytes of the edgecache process (RSS, and PSS, which counts shared pages by their
share), and of nginx's processes beside it. Asked: at most 150 MB and two slices for each active
response. Clients have small receive buffers, so that what waits for them waits in the server.

Example: python -m benchmarks.memory --seconds 20
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import client, report, servers
from benchmarks.origin import digest
from benchmarks.programs import environment, need
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


def measure(
    start: Callable[[Path, int], AbstractContextManager[Running]],
    directory: Path,
    seconds: float,
) -> Iterator[Sample]:
    for case, length in cases():
        report.note(f"{start.__name__}: {case} ...")
        with servers.origin(latency=LATENCY) as origin, start(directory, origin.port) as server:
            wanted = paths(case, length)
            if case.endswith("warm"):
                warm(server, wanted, length)
            yield asyncio.run(crowd(server, case, wanted, seconds))


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


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each case")
    options = parser.parse_args()
    need("nginx")
    seconds = 3.0 if options.quick else options.seconds
    circumstances = environment("nginx") | {"clients": f"{CLIENTS}, {RATE // KIB} KiB/s each"}
    with report.workplace(options.dir) as directory:
        samples = [
            sample
            for start in (servers.nginx, servers.edgecache)
            for sample in measure(start, directory, seconds)
        ]
    if options.json:
        report.show_json({"circumstances": circumstances, "memory": list(map(asdict, samples))})
    else:
        samples.sort(key=lambda sample: [case for case, _ in cases()].index(sample.case))
        report.show("Memory", circumstances, COLUMNS, [row(sample) for sample in samples])


if __name__ == "__main__":
    main()
