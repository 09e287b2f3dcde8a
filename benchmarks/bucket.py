"""The origin of every benchmark: an S3-like server of made-up objects, as a process of its own.

Rule of this module: it must never be what is measured. No disk, no copy in Python, a thread a
connection; a name says the object's length (`/bench/outputs/1048576-a.mp4`), and a byte is a
function of its position, so that readers can check what they got.

It may be far (`--latency`), slow (`--rate`, on each connection, evenly) and break answers off
(`--break-share`): by a reset at a byte of the body that chance picks, once the reader's kernel has
what comes before it. Chance is the same in each run: it goes by what is asked for, and how often.

Example: python -m benchmarks.bucket --port 9000 --latency 0.02
         python -m benchmarks.bucket --port 9000 --rate 20e6 --break-share 0.01 --log sent.jsonl
"""

import argparse
import json
import random
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fcntl import ioctl
from functools import cache
from pathlib import Path
from termios import TIOCOUTQ
from typing import BinaryIO, NamedTuple, TextIO

import xxhash

PERIOD = 4_194_301  # prime: no two slices of 2^n bytes hold the same bytes
PIECE = 2**18
SEND_LIMIT = 10.0
TICK = 0.01  # how often an origin of limited rate sends
CATCH_UP = 0.02  # how much time an answer may make good, where it came late or was not taken
ARRIVAL_LIMIT = 1.0
NAME = re.compile(rb"/(\d+)-[\w.-]+$")
RANGE = re.compile(rb"bytes=(\d+)-(\d*)$")
HEAD = """HTTP/1.1 {status}
Content-Type: binary/octet-stream
Content-Length: {length}
ETag: "{etag:032x}"
Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT
Accept-Ranges: bytes
Server: bench
"""


@cache
def periods() -> memoryview:
    return memoryview(random.Random(1).randbytes(PERIOD) * 2)


def pieces(start: int, stop: int, most: int = PIECE) -> Iterator[memoryview]:
    """The bytes from `start` to `stop` of any object."""
    while start < stop:
        offset = start % PERIOD
        piece = periods()[offset : offset + min(stop - start, most)]
        yield piece
        start += len(piece)


def digest(start: int, stop: int) -> str:
    hashed = xxhash.xxh3_64()
    for piece in pieces(start, stop):
        hashed.update(piece)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How answers are given: seconds to the first byte, bytes a second on each connection (0: as
    many as it takes), and the part of them that break off."""

    latency: float = 0.0
    rate: float = 0.0
    break_share: float = 0.0


class Sent(NamedTuple):
    """One answer: `at` is when its first byte left (CLOCK_MONOTONIC, ns), `size` of its body's."""

    path: str
    at: int
    size: int
    range: str
    broken: bool


class Broken(OSError):
    """We broke the answer off ourselves."""


class Pace:
    """When a connection may send: evenly, however long its reader lets it wait."""

    def __init__(self, rate: float) -> None:
        self.piece = min(PIECE, int(rate * TICK) + 1) if rate else PIECE
        self._rate = rate
        self._due = 0.0

    def begin(self) -> None:
        """An answer: that the connection was idle gains it nothing."""
        self._due = max(self._due, time.monotonic())

    def wait(self, count: int) -> None:
        """Until so many bytes may go; the first ones of all at once."""
        if self._rate:
            now = time.monotonic()
            at = max(self._due, now - CATCH_UP)
            self._due = at + count / self._rate
            if at > now:
                time.sleep(at - now)


class Bucket:
    """`GET /sent` tells, once nothing is being sent, what was since it was last asked: a list of
    `Sent`. So does a line each of `log`."""

    def __init__(self, manner: Manner, log: TextIO | None = None) -> None:
        self._manner = manner
        self._log = log
        self._sent: list[Sent] = []
        self._asked: Counter[tuple[bytes, bytes]] = Counter()
        self._sending = 0
        self._changed = threading.Condition()

    def serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pace = Pace(self._manner.rate)
        with connection, connection.makefile("rb") as reader:
            while request := read_head(reader):
                try:
                    self._answer(connection, pace, *request)
                except OSError:  # the reader has left
                    return

    def _answer(self, connection: socket.socket, pace: Pace, path: bytes, range_: bytes) -> None:
        if path == b"/sent":
            data = json.dumps(self._take_sent()).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            return
        named = NAME.search(path)
        if not named:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        with self._changed:
            self._sending += 1
            self._asked[path, range_] += 1
            asked = self._asked[path, range_]
        time.sleep(self._manner.latency)
        span, head = answer_head(int(named[1]), range_)
        chance = random.Random(f"{path!r} {range_!r} {asked}")
        breaks = chance.random() < self._manner.break_share and len(span) > 0
        stop = span.start + chance.randrange(len(span)) if breaks else span.stop
        began, position = time.monotonic_ns(), span.start
        try:
            connection.send(head, socket.MSG_MORE if len(span) else 0)
            pace.begin()
            for piece in pieces(span.start, stop, pace.piece):
                pace.wait(len(piece))
                connection.sendall(piece)
                position += len(piece)
            if breaks:
                reset(connection)
                raise Broken
        finally:
            size, broken = position - span.start, breaks and position == stop
            self._note(Sent(path.decode(), began, size, range_.decode(), broken))

    def _take_sent(self) -> list[Sent]:
        with self._changed:
            self._changed.wait_for(lambda: self._sending == 0, SEND_LIMIT)
            sent, self._sent = self._sent, []
        return sent

    def _note(self, sent: Sent) -> None:
        with self._changed:
            self._sent.append(sent)
            if self._log:
                self._log.write(json.dumps(sent._asdict()) + "\n")
                self._log.flush()
            self._sending -= 1
            self._changed.notify_all()


def reset(connection: socket.socket) -> None:
    """RST, once what was sent has arrived: it would be dropped."""
    latest = time.monotonic() + ARRIVAL_LIMIT
    while time.monotonic() < latest:
        if not int.from_bytes(ioctl(connection, TIOCOUTQ, bytes(4)), sys.byteorder):
            break
        time.sleep(0.001)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer_head(length: int, range_: bytes) -> tuple[range, bytes]:
    """(positions of the body, head): 200, 206 or 416."""
    asked = RANGE.match(range_)
    first = int(asked[1]) if asked else 0
    stop = min(int(asked[2]) + 1, length) if asked and asked[2] else length
    status, extra = "200 OK", ""
    if asked and first >= length:
        status, extra, stop = (
            "416 Range Not Satisfiable",
            f"Content-Range: bytes */{length}\n",
            first,
        )
    elif asked:
        status = "206 Partial Content"
        extra = f"Content-Range: bytes {first}-{stop - 1}/{length}\n"
    head = HEAD.format(status=status, length=stop - first, etag=length) + extra + "\n"
    return range(first, stop), head.replace("\n", "\r\n").encode()


def read_head(reader: BinaryIO) -> tuple[bytes, bytes] | None:
    """(path, Range) of the next request, None at the connection's end."""
    try:
        line = reader.readline()
        range_ = b""
        while (field := reader.readline().strip()) != b"":
            name, _, value = field.partition(b":")
            if name.lower() == b"range":
                range_ = value.strip()
    except OSError:
        return None
    parts = line.split()
    return (parts[1], range_) if len(parts) == 3 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before the first byte")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second of a connection")
    parser.add_argument("--break-share", type=float, default=0.0, help="part of answers that break")
    parser.add_argument("--log", type=Path, help="a line of JSON for each answer goes there")
    options = parser.parse_args()
    manner = Manner(latency=options.latency, rate=options.rate, break_share=options.break_share)
    periods()
    with ExitStack() as stack:
        log = stack.enter_context(options.log.open("a", encoding="utf-8")) if options.log else None
        bucket = Bucket(manner, log)
        where = ("127.0.0.1", options.port)
        server = stack.enter_context(socket.create_server(where, backlog=1024))
        while True:
            connection, _ = server.accept()
            threading.Thread(target=bucket.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
