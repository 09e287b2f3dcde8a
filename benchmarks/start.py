"""Start: from exec to the first 200 of /healthz, and to the first hit, with and without a cache.

The cache is made of edgecache's own files and rows: small objects of one slice each, so that there
are as many stored responses as slices. Every start is a fresh process, and no origin runs.

`--rows-only` makes the rows of all slices, but the file of the one that is asked for alone: a
start reads no file, and to write a million takes minutes. What has no file is a miss later.

Example: python -m benchmarks.start --rounds 9
         python -m benchmarks.start --slices 1000000 --rows-only
"""

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from xxhash import xxh3_64_hexdigest

from benchmarks import client, report, servers
from benchmarks.client import Reply
from benchmarks.programs import environment, need
from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.store.folder import SliceFolder
from edgecache.store.index_rows import meta_name
from edgecache.store.meta_format import encode_meta

SLICES = 100_000
BODY = 2**10
# As edgecache.yaml has them.
ORIGIN, LIMIT, SLICE_SIZE = "bench", 20 * 2**30, 2**20
# Objects that one transaction takes in: one each, as the server does it, would take minutes.
BATCH = 10_000
# Seconds that a start may take with so many slices, or fewer.
ASKED = {0: 1, 100_000: 2, 1_000_000: 5}
COPY = """INSERT INTO Cache
 SELECT NULL, ?, raw, store_time, expire_time, access_time, access_count, ?, size, mode, ?, ?
 FROM Cache WHERE key = ?"""
PATIENCE = 60.0
EVERY = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds since before the process began."""

    slices: int
    healthy: float
    hit: float | None  # there is none in an empty cache


def body(number: int) -> bytes:
    return f"{number:08}".encode() * (BODY // 8)


def path(number: int) -> str:
    return f"outputs/{number}.bin"


def meta(number: int) -> ObjectMeta:
    etag, now = f'"{number:032x}"', time.time()  # the server reads it with that clock
    return ObjectMeta(
        key=ObjectKey(ORIGIN, path(number)),
        etag=etag,
        origin_etag=etag,
        length=BODY,
        last_modified=None,
        date=int(now),
        request_time=now,
        response_time=now,
        headers=(),
    )


def make_cache(directory: Path, slices: int, *, rows_only: bool = False) -> None:
    """One object as the server makes it, and the others after its rows."""
    folder = SliceFolder(directory, limit=LIMIT, slice_size=SLICE_SIZE)
    folder.attach()
    first = meta(0)
    folder.write((), SliceKey(first.version, 0), first, body(0))
    folder.save_meta(first)
    files, originals = (
        folder.files,
        (folder.files.name(SliceKey(first.version, 0)), meta_name(first.key)),
    )
    with closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as connection:
        for start in range(1, slices, BATCH):
            connection.execute("BEGIN")
            for number in range(start, min(start + BATCH, slices)):
                made = meta(number)
                key = SliceKey(made.version, 0)
                if not rows_only or number == slices // 2:
                    files.write(key, made, body(number))
                name = files.name(key)
                rows = (
                    (name, None, name, None),
                    (meta_name(made.key), made.version, None, encode_meta(made)),
                )
                for row, original in zip(rows, originals, strict=True):
                    connection.execute(COPY, (*row, original))
            connection.execute("COMMIT")
    folder.remember((), 0.0)  # as a server does twice a minute
    folder.close()


def start(directory: Path, slices: int) -> Start:
    port = servers.free_port()
    settings = servers.settings(directory, port, origin_port=servers.free_port())
    began = time.monotonic_ns()
    with servers.started("edgecache", servers.EDGECACHE, settings) as process:
        admin = int(settings["BENCH_ADMIN_PORT"])
        reply = first_reply(process, lambda: client.get(admin, "/healthz"))
        if reply.status != 200:
            raise SystemExit(f"edgecache: /healthz answers {reply.status}")
        healthy = (reply.ended - began) / 1e9
        if not slices:
            return Start(slices=0, healthy=healthy, hit=None)
        wanted = slices // 2
        reply = first_reply(process, lambda: client.get(port, f"/{path(wanted)}"))
        if (reply.status, reply.digest) != (200, xxh3_64_hexdigest(body(wanted))):
            raise SystemExit(f"edgecache: wrong bytes {reply}")
        return Start(slices=slices, healthy=healthy, hit=(reply.ended - began) / 1e9)


def first_reply(process: "subprocess.Popen[bytes]", ask: Callable[[], Reply]) -> Reply:
    """Asks until somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return ask()
        except ConnectionRefusedError:
            time.sleep(EVERY)
    raise SystemExit("edgecache did not answer")


COLUMNS = ("start", "/healthz: median, s", "worst, s", "asked", "first hit: median, s", "worst, s")


def row(starts: list[Start]) -> list[str]:
    slices = starts[0].slices
    hits = [one.hit for one in starts if one.hit is not None]
    return [
        f"{slices:,} slices" if slices else "empty",
        *middle_and_worst([one.healthy for one in starts]),
        f"< {min((limit for most, limit in ASKED.items() if slices <= most), default='')}",
        *(middle_and_worst(hits) if hits else ("", "")),
    ]


def middle_and_worst(seconds: list[float]) -> tuple[str, str]:
    return f"{median(seconds):.2f}", f"{max(seconds):.2f}"


def main() -> None:
    parser = report.options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--rows-only", action="store_true")
    options = parser.parse_args()
    need()
    rounds, slices = (2, 1000) if options.quick else (options.rounds, options.slices)
    circumstances = environment() | {"rounds": f"{rounds}, a fresh process each"}
    if options.rows_only:
        circumstances["slices"] = "rows only, but one"
    found: dict[int, list[Start]] = {0: [], slices: []}
    with report.workplace(options.dir) as directory:
        report.note(f"making {slices} slices ...")
        make_cache(directory / str(slices) / "cache", slices, rows_only=options.rows_only)
        (directory / "0").mkdir()
        for number in range(rounds):
            report.note(f"round {number + 1} of {rounds} ...")
            for held, starts in found.items():
                starts.append(start(directory / str(held), held))
    if options.json:
        samples = [asdict(one) for starts in found.values() for one in starts]
        report.show_json({"circumstances": circumstances, "start": samples})
    else:
        report.show("Start", circumstances, COLUMNS, [row(starts) for starts in found.values()])


if __name__ == "__main__":
    main()
