"""The disk: churn beside nginx, hits while others are filled, and the store alone.

alone: puts and evictions of the store without HTTP. churn: requests over four times what the cache
holds. fill: p99 of hits at a steady rate while cold objects come in, over that without. paced: the
same while the store, or a plain program, writes 300 MB/s beside the server.

Example: python -m benchmarks.store --only churn --rounds 5
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks import report, servers, store_alone, store_churn, store_fill, store_paced
from benchmarks.programs import environment, need
from benchmarks.servers import Running
from benchmarks.store_alone import Evictions, Openings, Puts
from benchmarks.store_churn import Churn
from benchmarks.store_fill import CONTROL, FILLING, QUIET, Filled
from benchmarks.store_paced import KINDS, NOTHING, PLAIN, STORE, Paced

KIB, MIB, GIB = 2**10, 2**20, 2**30
CASES = ("alone", "churn", "fill", "paced")
# MB/s of puts, evictions a second, and what the p99 of hits may grow by.
ASKED_FILL, ASKED_EVICTIONS, ASKED_P99 = 300, 10_000, 1.2
ASKED_OPENING = 60  # us
EVICTED = 10_000
OPENED = (4 * KIB, 64 * KIB, MIB)
OPENINGS = 200
PUTS = {MIB: 1000, 64 * KIB: 4000}
QUICK = 50  # so many times less of what the store alone does
NAMES = ("nginx", "edgecache")


def openings(directory: Path, options: argparse.Namespace) -> list[list[Openings]]:
    """By length, of each round."""
    rounds, count = (1, OPENINGS // QUICK) if options.quick else (options.rounds, OPENINGS)
    return [
        [
            store_alone.in_process(store_alone.openings, directory / "opened", length, count)
            for _ in range(rounds)
        ]
        for length in OPENED
    ]


def alone(directory: Path, options: argparse.Namespace) -> tuple[list[list[Puts]], list[Evictions]]:
    """By length and whether the cache is full, and of each round."""
    rounds = 1 if options.quick else options.rounds
    less = QUICK if options.quick else 1
    kinds = [
        (length, count // less, full) for length, count in PUTS.items() for full in (False, True)
    ]
    puts: list[list[Puts]] = [[] for _ in kinds]
    evictions = []
    for number in range(rounds):
        report.note(f"alone, round {number + 1} of {rounds} ...")
        for found, kind in zip(puts, kinds, strict=True):
            found.append(store_alone.in_process(store_alone.puts, directory / "alone", *kind))
        evictions.append(
            store_alone.in_process(store_alone.evictions, directory / "alone", EVICTED // less)
        )
    return puts, evictions


@contextmanager
def peers(directory: Path, workers: int, size: int) -> Iterator[tuple[Running, dict[str, Running]]]:
    """The origin, and both servers."""
    with ExitStack() as stack:
        origin = stack.enter_context(servers.origin())
        starts = (servers.nginx, servers.edgecache)
        found = [
            stack.enter_context(start(directory, origin.port, workers=workers, size=size))
            for start in starts
        ]
        yield origin, dict(zip(NAMES, found, strict=True))


def churn(directory: Path, options: argparse.Namespace) -> dict[str, list[Churn]]:
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    size = 64 * MIB if options.quick else options.size * MIB
    found: dict[str, list[Churn]] = {name: [] for name in NAMES}
    with peers(directory, options.workers, size) as (origin, running):
        for name, one in running.items():
            report.note(f"churn: {name} is filled ...")
            store_churn.fill(one, size, seconds)
        for seed in range(rounds):
            report.note(f"churn, round {seed + 1} of {rounds} ...")
            for name, one in running.items():
                took = store_churn.measure(
                    one, origin, directory / name / "cache", size, seconds=seconds, seed=seed
                )
                found[name].append(took)
    return found


Fills = dict[str, dict[str, list[Filled]]]  # by server, and by what happens meanwhile


def fill(directory: Path, options: argparse.Namespace) -> dict[int, Fills]:
    """By the length of the hot object."""
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    size = 2 * GIB
    kinds = (QUIET, FILLING, CONTROL)
    found: dict[int, Fills] = {
        length: {name: {kind: [] for kind in kinds} for name in NAMES} for length in store_fill.HOT
    }
    with ExitStack() as stack:
        origin, running = stack.enter_context(peers(directory, options.workers, size))
        idle = servers.nginx(
            directory, origin.port, workers=options.workers, size=size, name="other"
        )
        other = stack.enter_context(idle)
        for number in range(rounds):
            report.note(f"fill, round {number + 1} of {rounds} ...")
            for length, fills in found.items():
                for name, one in running.items():
                    for turn, (kind, into) in enumerate(
                        zip(kinds, (None, one, other), strict=True)
                    ):
                        cold = f"cold{number}-{length}-{name}-{turn}"
                        took = store_fill.measure(one, into, origin, length, seconds, cold)
                        fills[name][kind].append(took)
    return found


def paced(directory: Path, options: argparse.Namespace) -> dict[str, list[Paced]]:
    """By what is written beside."""
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    found: dict[str, list[Paced]] = {kind: [] for kind in KINDS}
    with (
        servers.origin() as origin,
        servers.edgecache(directory, origin.port, workers=options.workers) as server,
    ):
        for number in range(rounds):
            report.note(f"paced, round {number + 1} of {rounds} ...")
            for kind, many in found.items():
                many.append(store_paced.measure(server, directory / "paced", kind, seconds))
    return found


def middle(many: Sequence[object], name: str, form: str) -> str:
    return format(median(getattr(one, name) for one in many), form)


def alone_rows(puts: list[list[Puts]], evictions: list[Evictions]) -> Iterator[list[str]]:
    for many in puts:
        one = many[0]
        name = f"{one.length // KIB} KiB puts{', each evicts one' if one.full else ''}"
        asked = f">= {ASKED_FILL} MB/s" if one.length == MIB else ""
        shown = f"{middle(many, 'rate', ',.0f')}/s, {middle(many, 'megabytes', ',.0f')} MB/s"
        yield [name, shown, asked]
        waits = " ".join(middle(many, part, ".2f") for part in ("alone", "p50", "p99"))
        yield [
            f"{name}: ms, idle p50, busy p50 p99; us CPU",
            f"{waits}; {middle(many, 'cpu', '.0f')}",
            "",
        ]
    shown = f"{middle(evictions, 'rate', ',.0f')}/s, {middle(evictions, 'seconds', '.2f')} s"
    yield [f"{evictions[0].slices:,} evictions", shown, f">= {ASKED_EVICTIONS:,}/s"]
    waits = " ".join(middle(evictions, part, ".2f") for part in ("p99_before", "p99"))
    yield ["hits: p99 ms before, while they go", waits, ""]


def opening_rows(found: list[list[Openings]]) -> Iterator[list[str]]:
    for many in found:
        shown = " ".join(middle(many, part, ".0f") for part in ("first", "reading", "again"))
        name = f"{many[0].length // KIB} KiB: us, first opening, first read, opening once more"
        yield [name, shown, f"<= {ASKED_OPENING}"]


def paced_rows(found: dict[str, list[Paced]]) -> Iterator[list[str]]:
    for kind, many in found.items():
        waits = " ".join(middle(many, part, ".2f") for part in ("p50", "p99", "late"))
        stolen = middle(many, "stolen", ".1f")
        yield [f"hits, {kind} beside: ms, p50 p99 late; % CPU stolen", f"{waits}; {stolen}", ""]
        if kind != NOTHING:
            yield [f"{kind}: MB/s written", middle(many, "written", ".0f"), ""]
    for above, below in ((STORE, NOTHING), (PLAIN, NOTHING), (STORE, PLAIN)):
        p99s = ([one.p99 for one in found[kind]] for kind in (above, below))
        asked = f"<= {ASKED_P99}" if above == STORE else ""
        yield [f"p99, {above} / {below}", str(report.ratio(*p99s)), asked]


def churn_rows(found: dict[str, list[Churn]]) -> Iterator[list[str]]:
    kinds = {
        "rate": ("requests/s", ",.0f"),
        "megabytes": ("MB/s to clients", ",.0f"),
        "bought": ("bytes bought / sent", ".3f"),
        "hit": ("hits / requests", ".3f"),
        "p50": ("hits: p50 ms", ".1f"),
        "p99": ("hits: p99 ms", ".1f"),
        "cpu": ("us CPU for each request", ",.0f"),
    }
    for name, (shown, form) in kinds.items():
        theirs, ours = ([getattr(one, name) for one in found[peer]] for peer in NAMES)
        ratio = str(report.ratio(ours, theirs))
        yield [shown, *(middle(found[peer], name, form) for peer in NAMES), ratio, ""]
    most = [f"{max(one.used for one in found[peer]):.3f}" for peer in NAMES]
    yield ["highest use of the disk / limit", *most, "", "<= 1"]


def fill_rows(found: dict[int, Fills]) -> Iterator[list[str]]:
    for length, fills in found.items():
        name = f"hits of {length // KIB} KiB"
        for kind in (QUIET, FILLING, CONTROL):
            waits = [
                " ".join(middle(fills[peer][kind], part, ".2f") for part in ("p50", "p99", "late"))
                for peer in NAMES
            ]
            yield [f"{name}, {kind}: ms, p50 p99 late", *waits, ""]
        for kind in (FILLING, CONTROL):
            rates = [middle(fills[peer][kind], "filled", ",.0f") for peer in NAMES]
            asked = f">= {ASKED_FILL}" if kind == FILLING else ""
            yield [f"{name}, {kind}: MB/s filled", *rates, asked]
        for above, below, asked in (
            (FILLING, QUIET, f"<= {ASKED_P99}"),
            (CONTROL, QUIET, ""),
            (FILLING, CONTROL, ""),
        ):
            ratios = [
                str(
                    report.ratio(
                        [one.p99 for one in fills[peer][above]],
                        [one.p99 for one in fills[peer][below]],
                    )
                )
                for peer in NAMES
            ]
            yield [f"{name}: p99, {above} / {below}", *ratios, asked]


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each server in each round")
    parser.add_argument("--only", choices=CASES, help="one of the cases")
    parser.add_argument("--size", type=int, default=1024, help="of the caches in churn, MiB")
    options = parser.parse_args()
    cases = [options.only] if options.only else list(CASES)
    programs = ["nginx", "wrk"] if {"churn", "fill"} & set(cases) else []
    need(*programs)
    circumstances = environment(*programs) | {
        "workers": f"{options.workers} of each server",
        "rounds": f"{options.rounds} of {options.seconds} s each" if not options.quick else "quick",
        "churn": f"caches of {options.size} MiB, requests over {store_churn.TIMES} times as much, "
        f"{store_churn.CONNECTIONS} connections",
        "fill": f"{store_fill.RATE:g} hits a second, {store_fill.FILLERS} connections fill",
    }
    results: dict[str, object] = {}
    tables = []
    with report.workplace(options.dir) as directory:
        if "alone" in cases:
            opened = openings(directory, options)
            puts, evictions = alone(directory, options)
            results["openings"] = [[asdict(one) for one in many] for many in opened]
            results["puts"] = [[asdict(one) for one in many] for many in puts]
            results["evictions"] = [asdict(one) for one in evictions]
            columns = ["the store alone", "edgecache", "asked"]
            tables.append((columns, [*opening_rows(opened), *alone_rows(puts, evictions)]))
        if "churn" in cases:
            churned = churn(directory, options)
            results["churn"] = {k: [asdict(one) for one in many] for k, many in churned.items()}
            columns = ["churn", *NAMES, "edgecache/nginx", "asked"]
            tables.append((columns, list(churn_rows(churned))))
        if "fill" in cases:
            filled = fill(directory, options)
            results["fill"] = {
                length: {
                    name: {kind: [asdict(one) for one in many] for kind, many in kinds.items()}
                    for name, kinds in fills.items()
                }
                for length, fills in filled.items()
            }
            tables.append((["fill", *NAMES, "asked"], list(fill_rows(filled))))
        if "paced" in cases:
            kept = paced(directory, options)
            results["paced"] = {kind: [asdict(one) for one in many] for kind, many in kept.items()}
            tables.append((["paced", "edgecache", "asked"], list(paced_rows(kept))))
    if options.json:
        report.show_json({"circumstances": circumstances} | results)
        return
    for columns, rows in tables:
        report.show("The disk", circumstances, columns, rows)
        circumstances = {}


if __name__ == "__main__":
    main()
