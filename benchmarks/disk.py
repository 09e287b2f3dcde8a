"""Hits of a working set that is larger than memory: half of it has to come from the disk.

2 GiB of 1 MiB objects are on disk, and most were asked for before. Right before each timed round,
every other cache file of each server is dropped from the page cache; wrk then asks for one object
after the other. nginx reads with `aio threads`, where it was built with them. Asked: at least 0.9
of nginx's throughput.

Example: python -m benchmarks.disk --rounds 5
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks import client, load, report, servers
from benchmarks.bucket import digest
from benchmarks.load import Load
from benchmarks.programs import environment, need, said
from benchmarks.servers import Running

MIB = 2**20
OBJECTS = 2048
QUICK_OBJECTS = 128
OPENING_SECONDS = 6
ASKED = 0.9
PATH = f"/outputs/{MIB}-disk-%d.webp"
COLUMNS = (
    "1 MiB, half not in memory",
    "edgecache/nginx",
    "asked",
    "req/s: nginx / edgecache",
    "MB/s: nginx / edgecache",
    "p50 p99 ms: nginx / edgecache",
    "us CPU/req: nginx / edgecache",
)

Found = dict[str, list[Load]]  # by server


def warm(server: Running, count: int) -> None:
    expected = digest(0, MIB)
    for number in range(count):
        if client.get(server.port, PATH % number).digest != expected:
            raise SystemExit(f"{server.name} {PATH % number}: wrong bytes")


def cache_files(folder: Path) -> Iterator[Path]:
    """Those that hold objects."""
    return (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= MIB)


def drop_half(folder: Path) -> int:
    """Of the cache files, from the page cache; how many. Names are hashes: no half is special."""
    dropped = sorted(cache_files(folder))[::2]
    for path in dropped:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)  # what is yet to be written can't be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return len(dropped)


def measure(
    peers: Sequence[Running], directory: Path, count: int, options: argparse.Namespace
) -> Found:
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    names = load.Names(path=PATH, count=count)
    threads = min(options.workers, load.MOST_THREADS)
    found: Found = {peer.name: [] for peer in peers}
    for peer in peers:  # files that a process opens for the first time are another case
        load.run(peer, names, seconds=1 if options.quick else OPENING_SECONDS, threads=threads)
    for number in range(rounds):
        report.note(f"round {number + 1} of {rounds} ...")
        for peer in peers:
            if drop_half(directory / peer.name / "cache") < count // 2:
                raise SystemExit(f"{peer.name}: fewer cache files than objects")
            found[peer.name].append(load.run(peer, names, seconds=seconds, threads=threads))
    return found


def row(found: Found, count: int) -> list[str]:
    ours, theirs = found["edgecache"], found["nginx"]
    middles = [
        (
            f"{median(one.rate for one in many):,.0f}",
            f"{median(one.megabytes for one in many):,.0f}",
            f"{median(one.p50 for one in many):.0f} {median(one.p99 for one in many):.0f}",
            f"{median(one.cpu for one in many):.0f}",
        )
        for many in (theirs, ours)
    ]
    ratio = report.ratio([one.rate for one in ours], [one.rate for one in theirs])
    both = map(" / ".join, zip(*middles, strict=True))
    return [f"{count} objects", str(ratio), f">= {ASKED}", *both]


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1, help="of each server in each round")
    options = parser.parse_args()
    need("nginx", "wrk")
    count = QUICK_OBJECTS if options.quick else OBJECTS
    threads = "--with-threads" in said("nginx", "-V")
    circumstances = environment("nginx", "wrk") | {
        "workers": f"{options.workers} of each server",
        "rounds": f"{options.rounds} of {options.seconds} s each",
        "nginx": "aio threads" if threads else "no aio threads: built without",
    }
    with ExitStack() as stack:
        directory = stack.enter_context(report.workplace(options.dir))
        port = stack.enter_context(servers.origin()).port
        nginx = servers.nginx(directory, port, workers=options.workers, threads=threads)
        edgecache = servers.edgecache(directory, port, workers=options.workers)
        peers = [stack.enter_context(start) for start in (nginx, edgecache)]
        for peer in peers:
            report.note(f"{peer.name}: {count} MiB ...")
            warm(peer, count)
        found = measure(peers, directory, count, options)
    if options.json:
        results = {name: [asdict(one) for one in many] for name, many in found.items()}
        report.show_json({"circumstances": circumstances, "disk": results})
    else:
        report.show("Larger than memory", circumstances, COLUMNS, [row(found, count)])


if __name__ == "__main__":
    main()
