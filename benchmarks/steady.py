"""Requests at a fixed rate, and how long each took from when it was due.

Rule of this module: a request is due by the clock alone. One that waits for a connection, all being
busy, waits in the figure too: a server that stops for a second can't hide who came meanwhile
("coordinated omission", for which wrk does not correct).
"""

import gc
import math
import re
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic

from benchmarks.load import CONNECTIONS

BUFFER = bytearray(2**18)
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
LIMIT = 10.0  # seconds without an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Milliseconds; `late` is the 99th percentile of how much later than due a request was sent
    though a connection was free: what this program adds."""

    rate: float
    p50: float
    p99: float
    late: float


class Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self._left = 0

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self.socket.send(request)

    def read(self) -> bool:
        """Whether the answer is whole now."""
        count = self.socket.recv_into(BUFFER)
        if not count:
            raise SystemExit("the server closed a connection")
        self._left = self._left - count if self._left else body_left(count)
        return not self._left


def body_left(count: int) -> int:
    """Bytes to come after the first ones of an answer, which are in the buffer."""
    end = BUFFER.find(b"\r\n\r\n", 0, count) + 4
    length = LENGTH.search(BUFFER, 0, end)
    if end < 4 or BUFFER[9:10] != b"2" or not length:
        raise SystemExit(f"not the answer that was wanted: {bytes(BUFFER[: min(count, 500)])!r}")
    return int(length[1]) - (count - end)


def run(port: int, request: Callable[[], bytes], *, rate: float, seconds: float) -> Steady:
    """`request` gives the next one, for a 200 or 206 with a length. The rate may be infinite: then
    each connection is given the next one as soon as it is free."""
    total = rate * seconds
    took: list[float] = []
    late: list[float] = []
    with connections(port) as idle, without_collections():
        begin = monotonic() + 0.01
        due, sent, waited = begin, 0, False
        busy: dict[socket.socket, Connection] = {}
        while True:
            now = monotonic()
            goes_on = sent < total and (rate < math.inf or now < begin + seconds)
            if not goes_on and not busy:
                break
            while idle and goes_on and due <= now:
                one = idle.popleft()  # in turn: always the last would be one worker's
                one.ask(request(), due)
                busy[one.socket] = one
                if not waited:
                    late.append(now - due)
                sent += 1
                due = begin + sent / rate
                goes_on = sent < total
            waited = not idle  # what is due until then is late because of the server
            wait = max(0.0, due - monotonic()) if idle and goes_on else LIMIT
            readable, _, _ = select.select(list(busy), (), (), wait)
            if not readable and wait == LIMIT:
                raise SystemExit(f"no answer within {LIMIT:g} s")
            for key in readable:
                if busy[key].read():
                    one = busy.pop(key)
                    took.append(monotonic() - one.due)
                    idle.append(one)
        ended = monotonic()
    return Steady(
        rate=len(took) / (ended - begin),
        p50=percentile(took, 0.5),
        p99=percentile(took, 0.99),
        late=percentile(late, 0.99),
    )


@contextmanager
def connections(port: int) -> Iterator[deque[Connection]]:
    with ExitStack() as stack:
        found = deque(Connection(port) for _ in range(CONNECTIONS))
        for one in found:
            stack.enter_context(one.socket)
        yield found


@contextmanager
def without_collections() -> Iterator[None]:
    """This program's own pauses are none of the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def percentile(seconds: Sequence[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(seconds) or [0.0]
    return ordered[math.ceil(share * len(ordered)) - 1] * 1e3
