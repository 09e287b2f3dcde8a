"""What a server's processes hold when nothing happens: after hits, and for idle connections."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import client, load, servers
from benchmarks.servers import Running

PATH = f"/outputs/{4 * 2**10}-idle.webp"
CONNECTIONS = 10_000
OWN_FILES = 200  # of this process, besides connections
ASKED = 10e3  # bytes for each connection
SETTLE = 1.5  # seconds until the servers have let go of what the last requests needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes of one process."""

    server: str
    process: str
    rss: int
    pss: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Bytes by which the processes of a server grew, all together."""

    server: str
    connections: int
    rss: int
    pss: int


def held(server: Running) -> list[Held]:
    first, *others = server.processes()
    names = {first: "parent" if others else "alone"} | {pid: name(pid) for pid in others}
    return [
        Held(
            server=server.name,
            process=names[pid],
            rss=servers.memory(pid, "Rss"),
            pss=servers.memory(pid, "Pss"),
        )
        for pid in names
    ]


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()


def after_hits(server: Running, seconds: int) -> list[Held]:
    """Of small objects and of large ones."""
    for length in (2**12, 2**20):
        load.run(server, f"/outputs/{length}-idle.webp", seconds=seconds)
    time.sleep(SETTLE)
    return held(server)


def idle(server: Running, wanted: int) -> Idle:
    """Connections that each had one answer, and wait for the next request."""
    with connections(server, load.CONNECTIONS):  # what comes with the first ones
        time.sleep(SETTLE)
    before = server.memory("Rss"), server.memory("Pss")
    with connections(server, wanted) as count:
        time.sleep(SETTLE)
        after = server.memory("Rss"), server.memory("Pss")
    return Idle(
        server=server.name, connections=count, rss=after[0] - before[0], pss=after[1] - before[1]
    )


@contextmanager
def connections(server: Running, wanted: int) -> Iterator[int]:
    """As many as this process may have, open within."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(wanted, most - OWN_FILES)
    request = f"GET {PATH} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", server.port), 10)
            stack.enter_context(connection)
            connection.sendall(request)
            head, body = client.read_head(connection)
            status, fields = client.parse_head(head)
            if status != 200:
                raise SystemExit(f"{server.name}: {head}")
            left = int(fields["content-length"]) - len(body)
            while left:
                left -= len(connection.recv(left)) or left
        yield count
