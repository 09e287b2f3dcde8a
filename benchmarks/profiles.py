"""Where edgecache's time goes: py-spy beside one case of the hits, or beside a cold read.

Prints the functions that the samples ended in (self), and those they passed through (in all), as
a share of the main thread's samples; the stacks go to benchmarks/out, one a line, as flame graph
tools read them. Needs py-spy, and the right to trace: root, or kernel.yama.ptrace_scope=0.

Example: python -m benchmarks.profiles "64 KiB" cold
"""

import argparse
import re
import subprocess
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks import client, hits, load, report, servers
from benchmarks.programs import need
from benchmarks.servers import Running

OUT = Path(__file__).with_name("out")
COLD = "cold"
GIB = 2**30
FRAME = re.compile(r"(?P<name>.+) \((?P<file>.+?)(?::\d+)?\)$")


def record(server: Running, seconds: int, rate: int, native: bool, file: Path) -> None:
    command = ["py-spy", "record", "--pid", str(server.pid), "--rate", str(rate)]
    command += ["--duration", str(seconds), "--format", "raw", "--output", str(file), "--threads"]
    done = subprocess.run(
        command + ["--native"] * native, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"py-spy failed: {done.stderr.strip()}")


def stacks(text: str) -> list[tuple[list[str], int]]:
    """(functions from the outside in, samples), of the main thread and without line numbers."""
    found = []
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" in thread:
            found.append(([short(frame) for frame in frames], int(count)))
    return found


def short(frame: str) -> str:
    parsed = FRAME.match(frame)
    if not parsed:
        return frame
    path = re.sub(r".*/(site-packages|lib/python3\.\d+|edgecache)/", "", parsed["file"])
    return f"{parsed['name']} ({path})"


def shares(text: str, top: int) -> list[list[str]]:
    own: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for frames, count in stacks(text):
        own[frames[-1]] += count
        for frame in set(frames):
            passed[frame] += count
    total = own.total() or 1
    rows = [[f"{own[name] / total:.1%}", f"{passed[name] / total:.1%}", name] for name in passed]
    rows.sort(key=lambda row: float(row[0].rstrip("%")), reverse=True)
    return rows[:top]


def read_cold(server: Running, ended: threading.Event) -> None:
    number = 0
    while not ended.is_set():
        client.get(server.port, f"/outputs/{GIB}-cold-{number}.mp4")
        number += 1


def profile(server: Running, name: str, options: argparse.Namespace) -> str:
    """What py-spy wrote while the server was busy with the case."""
    file = OUT / f"{name.replace(' ', '-').replace(',', '')}.stacks"
    ended = threading.Event()
    if name == COLD:
        busy = threading.Thread(target=read_cold, args=(server, ended))
    else:
        case = next(case for case in hits.CASES if case.name == name)
        etag = hits.warm(server, case)
        busy = threading.Thread(
            target=load.run,
            args=(server, case.path),
            kwargs={
                "seconds": options.seconds + 2,
                "ranges": case.ranges,
                "etag": etag if case.conditional else "",
            },
        )
    busy.start()
    try:
        record(server, options.seconds, options.rate, options.native, file)
    finally:
        ended.set()
        busy.join()
    return file.read_text("utf-8")


def main() -> None:
    names = [case.name for case in hits.CASES] + [COLD]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", choices=names, metavar="case", help=", ".join(names))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=500, help="samples a second")
    parser.add_argument("--native", action="store_true", help="C functions too: slower, coarser")
    parser.add_argument("--top", type=int, default=25)
    options = parser.parse_args()
    need("wrk", "py-spy")
    OUT.mkdir(exist_ok=True)
    with ExitStack() as stack:
        directory = stack.enter_context(report.workplace(None))
        origin = stack.enter_context(servers.origin())
        server = stack.enter_context(servers.edgecache(directory, origin.port))
        for name in options.cases:
            text = profile(server, name, options)
            report.show(name, {}, ("self", "in all", "function"), shares(text, options.top))


if __name__ == "__main__":
    main()
