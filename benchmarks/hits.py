"""Hits: edgecache beside nginx `proxy_cache` with `slice 1m`, and Varnish, with the same origin.

All are warmed and stay up; in each round wrk (32 keep-alive connections, as many threads as servers
have workers, two at most) asks one after the other, so a ratio compares what ran within seconds on
the same machine.

Example: python -m benchmarks.hits --rounds 7
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from statistics import median

from benchmarks import client, load, report, servers
from benchmarks.bucket import digest
from benchmarks.programs import environment, have, need
from benchmarks.servers import Running

KIB, MIB, GIB = 2**10, 2**20, 2**30
WARM_TRIES = 20
ASKED_OF_VARNISH = 0.9

Found = dict[str, list[load.Load]]  # by server


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Asked: the ratio to nginx that edgecache is built for, 0 where there is none: by several
    workers, and by one (`alone`). To Varnish it is the same for all that is large."""

    name: str
    length: int
    size: int = 0  # of the ranges; 0: whole
    step: int = 1
    conditional: bool = False
    asked: float = 1.0
    alone: float = 0.0

    @property
    def asked_of_varnish(self) -> float:
        large = self.length >= MIB and not self.conditional
        return ASKED_OF_VARNISH if large else 0.0

    @property
    def path(self) -> str:
        kind = "webp" if self.length <= MIB else "mp4"
        return f"/outputs/{self.length}-hit.{kind}"

    @property
    def ranges(self) -> load.Ranges | None:
        if not self.size:
            return None
        return load.Ranges(length=self.length, size=self.size, step=self.step)


CASES = (
    Case(name="4 KiB", length=4 * KIB),
    Case(name="64 KiB", length=64 * KIB, alone=0.5),
    Case(name="1 MiB", length=MIB, alone=1.0),
    Case(name="1 MiB of 64 MiB, aligned", length=64 * MIB, size=MIB, step=MIB, alone=1.0),
    Case(name="1 MiB of 64 MiB, anywhere", length=64 * MIB, size=MIB, alone=1.0),
    Case(name="1 MiB of 1 GiB, aligned", length=GIB, size=MIB, step=MIB, alone=1.0),
    Case(name="1 MiB of 1 GiB, anywhere", length=GIB, size=MIB, alone=1.0),
    Case(name="304", length=MIB, conditional=True),
)


def warm(server: Running, case: Case) -> str:
    """Reads until it is a hit, and right; the object's ETag."""
    expected = digest(0, case.length)
    for _ in range(WARM_TRIES):
        reply = client.get(server.port, case.path)
        if (reply.status, reply.length, reply.digest) != (200, case.length, expected):
            raise SystemExit(f"{server.name} {case.path}: wrong answer {reply}")
        if client.is_hit(reply.fields):
            return reply.fields["etag"]
        time.sleep(0.1)  # slices go to the disk behind the answer
    raise SystemExit(f"{server.name} {case.path}: no hit after {WARM_TRIES} reads")


def measure(case: Case, peers: Sequence[Running], rounds: int, seconds: int, threads: int) -> Found:
    etags = {peer.name: warm(peer, case) for peer in peers}
    found: Found = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            took = load.run(
                peer,
                case.path,
                seconds=seconds if number else 1,  # the first round only fills page cache
                threads=threads,
                ranges=case.ranges,
                etag=etags[peer.name] if case.conditional else "",
            )
            if number:
                found[peer.name].append(took)
    return found


def columns(names: Sequence[str]) -> list[str]:
    ratios = [(f"edgecache/{name}", "asked") for name in names if name != "edgecache"]
    each = " / ".join(names)
    kinds = ("req/s", "p50 p99 ms", "us CPU/req")
    return ["hit", *chain(*ratios), *(f"{kind}: {each}" for kind in kinds)]


def row(case: Case, found: Found, workers: int) -> list[str]:
    asked = {"nginx": case.asked if workers > 1 else case.alone, "varnish": case.asked_of_varnish}
    ours = [one.rate for one in found["edgecache"]]
    ratios = [
        (
            str(report.ratio(ours, [one.rate for one in many])),
            f">= {asked[name]}" * (asked[name] > 0),
        )
        for name, many in found.items()
        if name != "edgecache"
    ]
    middles = [
        (
            f"{median(one.rate for one in many):,.0f}",
            f"{median(one.p50 for one in many):.1f} {median(one.p99 for one in many):.1f}",
            f"{median(one.cpu for one in many):.0f}",
        )
        for many in found.values()
    ]
    return [case.name, *chain(*ratios), *map(" / ".join, zip(*middles, strict=True))]


@contextmanager
def peers(options: argparse.Namespace) -> Iterator[list[Running]]:
    """All servers that there are, started."""
    with ExitStack() as stack:
        directory = stack.enter_context(report.workplace(options.dir))
        port = stack.enter_context(servers.origin()).port
        workers, sendfile = options.workers, not options.no_sendfile
        nginx = servers.nginx(directory, port, workers=workers, sendfile=sendfile)
        found = [
            stack.enter_context(nginx),
            stack.enter_context(servers.edgecache(directory, port, workers=workers)),
        ]
        if have("varnishd"):
            found.append(stack.enter_context(servers.varnish(directory, port, workers=workers)))
        yield found


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each server in each round")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument(
        "--no-sendfile", action="store_true", help="nginx copies, which loopback makes faster"
    )
    options = parser.parse_args()
    need("nginx", "wrk")
    rounds, seconds = (2, 1) if options.quick else (options.rounds, options.seconds)
    cases = [case for case in CASES if options.only in case.name]
    if options.quick and not options.only:
        cases = [case for case in cases if case.length < GIB]
    programs = ["nginx", "wrk", *(["varnishd"] if have("varnishd") else [])]
    threads = min(options.workers, load.MOST_THREADS)
    circumstances = environment(*programs) | {
        "workers": f"{options.workers} of each server, {threads} threads of wrk",
        "rounds": f"{rounds} of {seconds} s each",
        "nginx": "sendfile off" if options.no_sendfile else "sendfile on",
        "varnish": "file storage" if have("varnishd") else "not found on PATH: left out",
    }
    found = {}
    with peers(options) as running:
        for case in cases:
            report.note(f"{case.name} ...")
            found[case.name] = measure(case, running, rounds, seconds, threads)
    if options.json:
        results = {
            name: {peer: [asdict(one) for one in many] for peer, many in each.items()}
            for name, each in found.items()
        }
        report.show_json({"circumstances": circumstances, "hits": results})
    else:
        rows = [row(case, found[case.name], options.workers) for case in cases]
        names = columns([peer.name for peer in running])
        report.show("Hits, 32 connections", circumstances, names, rows)


if __name__ == "__main__":
    main()
