"""One run of wrk against one server."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import Running

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32
MOST_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Random ranges of `size` bytes, each starting at a multiple of `step`, of `length` bytes."""

    length: int
    size: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """One object after the other: `path` with %d in it, for so many, then from the first one on."""

    path: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Latencies in milliseconds; `cpu` is the server's time for one request, in microseconds."""

    rate: float
    megabytes: float
    p50: float
    p99: float
    cpu: float


def run(
    server: Running,
    path: str | Names,
    *,
    seconds: int,
    threads: int = 1,
    ranges: Ranges | None = None,
    etag: str = "",
    connections: int = CONNECTIONS,
) -> Load:
    """Ends the run if a single request failed: such a figure means nothing."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
    if etag:
        command += ["-H", f"If-None-Match: {etag}"]
    url = f"http://127.0.0.1:{server.port}"
    match path:
        case Names():
            command += [url, "--", "names", path.path, str(path.count), str(threads)]
        case _ if ranges:
            numbers = (ranges.length, ranges.size, ranges.step)
            command += [url + path, "--", "ranges", *map(str, numbers)]
        case _:
            command.append(url + path)
    cpu = server.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu = server.cpu_seconds() - cpu
    _, marker, line = done.stdout.partition("RESULT ")
    if not marker:
        sys.exit(f"wrk failed:\n{done.stdout}{done.stderr}")
    result: dict[str, float] = json.loads(line)
    if result["errors"] or not result["requests"]:
        sys.exit(f"{server.name} {path}: {result}\n{done.stdout}")
    return Load(
        rate=result["requests"] / result["seconds"],
        megabytes=result["bytes"] / result["seconds"] / 1e6,
        p50=result["p50"],
        p99=result["p99"],
        cpu=cpu / result["requests"] * 1e6,
    )
