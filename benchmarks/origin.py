"""The origin of every benchmark: an S3-like server of made-up objects, as a process of its own.

Rule of this module: it must never be what is measured. No disk, no copy in Python, a thread a
connection; a name says the object's length (`/bench/outputs/1048576-a.mp4`), and a byte is a
function of its position, so that readers can check what they got.

Example: python -m benchmarks.origin --port 9000 --latency 0.02
"""

import argparse
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO

import xxhash

PERIOD = 4_194_301  # prime: no two slices of 2^n bytes hold the same bytes
PIECE = 2**18
SEND_LIMIT = 10.0
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


def pieces(start: int, stop: int) -> Iterator[memoryview]:
    """The bytes from `start` to `stop` of any object."""
    while start < stop:
        offset = start % PERIOD
        piece = periods()[offset : offset + min(stop - start, PIECE)]
        yield piece
        start += len(piece)


def digest(start: int, stop: int) -> str:
    hashed = xxhash.xxh3_64()
    for piece in pieces(start, stop):
        hashed.update(piece)
    return hashed.hexdigest()


class Origin:
    """`GET /sent` tells, once nothing is being sent, what was since it was last asked: a list of
    [path, when its first byte left (CLOCK_MONOTONIC, ns), body bytes]."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._sent: list[tuple[str, int, int]] = []
        self._sending = 0
        self._changed = threading.Condition()

    def serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as reader:
            while request := read_head(reader):
                try:
                    self._answer(connection, *request)
                except OSError:  # the reader has left
                    return

    def _answer(self, connection: socket.socket, path: bytes, range_: bytes) -> None:
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
        time.sleep(self._latency)
        span, head = answer_head(int(named[1]), range_)
        self._send(connection, path.decode(), head, span)

    def _take_sent(self) -> list[tuple[str, int, int]]:
        with self._changed:
            self._changed.wait_for(lambda: self._sending == 0, SEND_LIMIT)
            sent, self._sent = self._sent, []
        return sent

    def _send(self, connection: socket.socket, path: str, head: bytes, span: range) -> None:
        began, count = time.monotonic_ns(), 0
        try:
            connection.send(head, socket.MSG_MORE)
            for piece in pieces(span.start, span.stop):
                connection.sendall(piece)
                count += len(piece)
        finally:
            with self._changed:
                self._sent.append((path, began, count))
                self._sending -= 1
                self._changed.notify_all()


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
    options = parser.parse_args()
    origin = Origin(options.latency)
    periods()
    with socket.create_server(("127.0.0.1", options.port), backlog=1024) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=origin.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
