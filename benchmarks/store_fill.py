"""Hits at a steady rate while other objects are filled as fast as it goes, and without.

Rule of this module: on few cores the origin, the clients and the server share the CPU, so there is
a control: the same hits while the same cold objects are asked of another server, which is idle but
for that. What a hit loses in the control it loses to the machine, not to its own server's fills.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import hits, load, steady
from benchmarks.misses import sent_by
from benchmarks.servers import Running
from benchmarks.steady import Steady

KIB, MIB = 2**10, 2**20
FILLERS = 8  # connections that ask for cold objects
RATE = 400.0  # hits a second
SETTLING = 0.5  # seconds of filling before the hits are timed, and after
HOT = (4 * KIB, 64 * KIB)
QUIET, FILLING, CONTROL = "no filling", "filling", "another server filling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Milliseconds; `filled` in MB/s of the origin's bytes."""

    p50: float
    p99: float
    late: float
    filled: float


def hot(length: int) -> hits.Case:
    return hits.Case(name=f"{length // KIB} KiB", length=length)


def asking(length: int) -> Callable[[], bytes]:
    request = f"GET {hot(length).path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    return lambda: request


def measure(
    server: Running, filled: Running | None, origin: Running, length: int, seconds: int, turn: str
) -> Filled:
    """`filled` is asked for cold objects meanwhile, whose names hold `turn`."""
    hits.warm(server, hot(length))
    sent_by(origin)
    if filled is None:
        return result(steady.run(server.port, asking(length), rate=RATE, seconds=seconds), 0.0)
    cold = load.Names(path=f"/outputs/{MIB}-{turn}-%d.webp", count=10**9)
    found: list[load.Load] = []
    total = seconds + 2 * int(SETTLING + 0.5)
    filling = threading.Thread(
        target=lambda: found.append(load.run(filled, cold, seconds=total, connections=FILLERS))
    )
    filling.start()
    threading.Event().wait(SETTLING)
    took = steady.run(server.port, asking(length), rate=RATE, seconds=seconds)
    filling.join()
    if not found:
        raise SystemExit(f"{filled.name}: not filled")
    bought = sum(one.size for one in sent_by(origin) if turn in one.path)
    return result(took, bought / total / 1e6)


def result(took: Steady, filled: float) -> Filled:
    return Filled(p50=took.p50, p99=took.p99, late=took.late, filled=filled)
