"""Hits: edgecache beside nginx `proxy_cache` with `slice 1m`, one process each, same origin.

Both are warmed and stay up; in each round wrk (32 keep-alive connections, one thread) asks one and
then the other, so a ratio compares what ran within seconds on the same machine.

Example: python -m benchmarks.hits --rounds 7
"""

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks import client, load, report, servers
from benchmarks.origin import digest
from benchmarks.programs import environment, need
from benchmarks.servers import Running

KIB, MIB, GIB = 2**10, 2**20, 2**30
WARM_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`asked` is the ratio that edgecache is built for, 0 where there is none."""

    name: str
    length: int
    size: int = 0  # of the ranges; 0: whole
    step: int = 1
    conditional: bool = False
    asked: float = 0.0

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
    Case(name="64 KiB", length=64 * KIB, asked=0.5),
    Case(name="1 MiB", length=MIB, asked=1.0),
    Case(name="1 MiB of 64 MiB, aligned", length=64 * MIB, size=MIB, step=MIB, asked=1.0),
    Case(name="1 MiB of 64 MiB, anywhere", length=64 * MIB, size=MIB, asked=1.0),
    Case(name="1 MiB of 1 GiB, aligned", length=GIB, size=MIB, step=MIB, asked=1.0),
    Case(name="1 MiB of 1 GiB, anywhere", length=GIB, size=MIB, asked=1.0),
    Case(name="304", length=MIB, conditional=True),
)
COLUMNS = (
    "hit",
    "nginx req/s",
    "edgecache req/s",
    "edgecache/nginx",
    "asked",
    "nginx p50 p99 ms",
    "edgecache p50 p99 ms",
    "nginx us CPU/req",
    "edgecache us CPU/req",
)


def warm(server: Running, case: Case) -> str:
    """Reads until it is a hit, and right; the object's ETag."""
    expected = digest(0, case.length)
    for _ in range(WARM_TRIES):
        reply = client.get(server.port, case.path)
        if (reply.status, reply.length, reply.digest) != (200, case.length, expected):
            raise SystemExit(f"{server.name} {case.path}: wrong answer {reply}")
        status = reply.fields.get("cache-status", reply.fields.get("x-cache", ""))
        if "hit" in status.replace(";", " ").lower().split():
            return reply.fields["etag"]
        time.sleep(0.1)  # slices go to the disk behind the answer
    raise SystemExit(f"{server.name} {case.path}: no hit after {WARM_TRIES} reads")


def measure(
    case: Case, peers: tuple[Running, Running], rounds: int, seconds: int
) -> dict[str, list[load.Load]]:
    etags = {peer.name: warm(peer, case) if case.conditional else "" for peer in peers}
    if not case.conditional:
        for peer in peers:
            warm(peer, case)
    found: dict[str, list[load.Load]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            took = load.run(
                peer,
                case.path,
                seconds=seconds if number else 1,  # the first round only fills page cache
                ranges=case.ranges,
                etag=etags[peer.name],
            )
            if number:
                found[peer.name].append(took)
    return found


def row(case: Case, found: dict[str, list[load.Load]]) -> list[str]:
    theirs, ours = found["nginx"], found["edgecache"]
    rates = [f"{median(one.rate for one in many):,.0f}" for many in (theirs, ours)]
    ratio = report.ratio([one.rate for one in ours], [one.rate for one in theirs])
    waits = [
        f"{median(one.p50 for one in many):.1f} {median(one.p99 for one in many):.1f}"
        for many in (theirs, ours)
    ]
    cpu = [f"{median(one.cpu for one in many):.0f}" for many in (theirs, ours)]
    asked = f">= {case.asked}" if case.asked else ""
    return [case.name, *rates, str(ratio), asked, *waits, *cpu]


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
    circumstances = environment("nginx", "wrk") | {
        "rounds": f"{rounds} of {seconds} s each",
        "nginx": "sendfile off" if options.no_sendfile else "sendfile on",
    }
    found = {}
    with ExitStack() as stack:
        directory = stack.enter_context(report.workplace(options.dir))
        origin = stack.enter_context(servers.origin())
        theirs = stack.enter_context(
            servers.nginx(directory, origin.port, sendfile=not options.no_sendfile)
        )
        ours = stack.enter_context(servers.edgecache(directory, origin.port))
        for case in cases:
            report.note(f"{case.name} ...")
            found[case.name] = measure(case, (theirs, ours), rounds, seconds)
    if options.json:
        results = {
            name: {peer: [asdict(one) for one in many] for peer, many in each.items()}
            for name, each in found.items()
        }
        report.show_json({"circumstances": circumstances, "hits": results})
    else:
        rows = [row(case, found[case.name]) for case in cases]
        report.show("Hits, 32 connections", circumstances, COLUMNS, rows)


if __name__ == "__main__":
    main()
