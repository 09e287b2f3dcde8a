"""A reader that costs little: one GET a connection, its body hashed and dropped, times noted."""

import socket
import time
from dataclasses import dataclass

import xxhash

HEAD_LIMIT = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Times are CLOCK_MONOTONIC in nanoseconds, the same clock in every process of a machine."""

    status: int
    fields: dict[str, str]
    length: int
    digest: str
    asked: int
    first_byte: int
    ended: int

    @property
    def seconds(self) -> float:
        return (self.ended - self.asked) / 1e9


def get(port: int, path: str, *, range_: str = "") -> Reply:
    """:raises OSError: the server cut the answer."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        asked = time.monotonic_ns()
        connection.sendall(request_head(path, range_))
        head, start = read_head(connection)
        first_byte = time.monotonic_ns() if start else 0
        status, fields = parse_head(head)
        left = int(fields.get("content-length", "0")) - len(start)
        hashed, buffer = xxhash.xxh3_64(start), memoryview(bytearray(2**20))
        while left > 0:
            count = connection.recv_into(buffer)
            if not count:
                raise ConnectionError(f"cut with {left} bytes to come")
            first_byte = first_byte or time.monotonic_ns()
            hashed.update(buffer[:count])
            left -= count
    return Reply(
        status=status,
        fields=fields,
        length=int(fields.get("content-length", "0")),
        digest=hashed.hexdigest(),
        asked=asked,
        first_byte=first_byte,
        ended=time.monotonic_ns(),
    )


def connect(port: int, limit: float) -> socket.socket:
    """For many requests, small ones at once."""
    connection = socket.create_connection(("127.0.0.1", port), limit)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def is_hit(fields: dict[str, str]) -> bool:
    """By what edgecache, nginx and Varnish say of it, each in its own field."""
    status = fields.get("cache-status", fields.get("x-cache", ""))
    return "hit" in status.replace(";", " ").lower().split()


def request_head(path: str, range_: str = "") -> bytes:
    field = f"Range: {range_}\r\n" if range_ else ""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{field}Connection: close\r\n\r\n".encode()


def read_head(connection: socket.socket) -> tuple[str, bytes]:
    """(the head, what came after it)."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(HEAD_LIMIT)
        if not more or len(data) > HEAD_LIMIT:
            raise ConnectionError("no answer")
        data += more
    head, _, start = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), start


def parse_head(head: str) -> tuple[int, dict[str, str]]:
    status, *lines = head.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
