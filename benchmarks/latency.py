"""Latency at a fixed rate: half of what the slower of edgecache and nginx can do, for both.

A generator of our own measures that maximum just before, with each of 32 connections always busy.
Then it sends each request when it is due, and counts from then. Asked: edgecache's p99 is not above
nginx's by more than a third.

Example: python -m benchmarks.latency --rounds 5
"""

import math
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median

from benchmarks import hits, report, servers, steady
from benchmarks.programs import environment, need
from benchmarks.servers import Running
from benchmarks.steady import Steady

NAMES = ("4 KiB", "64 KiB", "1 MiB of 1 GiB, anywhere")
QUICK = ("4 KiB", "1 MiB of 64 MiB, anywhere")
SHARE = 0.5
ASKED = 4 / 3
MAXIMUM_SECONDS = 2
COLUMNS = (
    "hit",
    "p99 edgecache/nginx",
    "asked",
    "req/s",
    "p50 ms: nginx / edgecache",
    "p99 ms: nginx / edgecache",
    "sent late, p99 ms: nginx / edgecache",
)

Found = dict[str, list[Steady]]  # by server


def requests_of(case: hits.Case) -> Callable[[], bytes]:
    head = f"GET {case.path} HTTP/1.1\r\nHost: bench\r\n"
    if not case.size:
        whole = f"{head}\r\n".encode()
        return lambda: whole
    choice = random.Random(1)  # the same ranges for both servers

    def ranged() -> bytes:
        start = choice.randrange(0, case.length - case.size + 1, case.step)
        return f"{head}Range: bytes={start}-{start + case.size - 1}\r\n\r\n".encode()

    return ranged


def maximum(case: hits.Case, peer: Running) -> float:
    """Requests a second, warm."""
    hits.warm(peer, case)
    requests, seconds = requests_of(case), MAXIMUM_SECONDS
    steady.run(peer.port, requests, rate=math.inf, seconds=1)  # fills page cache
    return steady.run(peer.port, requests, rate=math.inf, seconds=seconds).rate


def measure(case: hits.Case, peers: Sequence[Running], rounds: int, seconds: int) -> Found:
    most = min(maximum(case, peer) for peer in peers)
    found: Found = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            one = steady.run(peer.port, requests_of(case), rate=SHARE * most, seconds=seconds)
            found[peer.name].append(one)
    return found


def row(case: hits.Case, found: Found) -> list[str]:
    theirs, ours = found["nginx"], found["edgecache"]
    ratio = report.ratio([one.p99 for one in ours], [one.p99 for one in theirs])
    waits = [
        " / ".join(f"{median(getattr(one, name) for one in many):.2f}" for many in (theirs, ours))
        for name in ("p50", "p99", "late")
    ]
    return [
        case.name,
        str(ratio),
        f"<= {ASKED:.2f}",
        f"{median(o.rate for o in ours):,.0f}",
        *waits,
    ]


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each server in each round")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    need("nginx")
    rounds, seconds = (2, 1) if options.quick else (options.rounds, options.seconds)
    names = [name for name in (QUICK if options.quick else NAMES) if options.only in name]
    cases = [case for case in hits.CASES if case.name in names]
    circumstances = environment("nginx") | {
        "workers": f"{options.workers} of each server",
        "rounds": f"{rounds} of {seconds} s each",
    }
    found = {}
    with ExitStack() as stack:
        directory = stack.enter_context(report.workplace(options.dir))
        port = stack.enter_context(servers.origin()).port
        peers = [
            stack.enter_context(start(directory, port, workers=options.workers))
            for start in (servers.nginx, servers.edgecache)
        ]
        for case in cases:
            report.note(f"{case.name} ...")
            found[case.name] = measure(case, peers, rounds, seconds)
    if options.json:
        results = {
            name: {peer: [asdict(one) for one in many] for peer, many in each.items()}
            for name, each in found.items()
        }
        report.show_json({"circumstances": circumstances, "latency": results})
    else:
        rows = [row(case, found[case.name]) for case in cases]
        report.show("Latency at a fixed rate", circumstances, COLUMNS, rows)


if __name__ == "__main__":
    main()
