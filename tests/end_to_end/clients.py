"""Clients that keep their connection, and many of them at once."""

import http.client
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from threading import Event
from typing import Self
from urllib.parse import urlsplit

from tests.end_to_end.programs import PATIENCE

# What a client meets on a connection that the server cut.
CUT = (ConnectionError, http.client.HTTPException, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    fields: Message
    body: bytes

    @property
    def cache_status(self) -> str:
        return str(self.fields["Cache-Status"])


class Client:
    """One connection, opened when it is needed, for one request after the other."""

    def __init__(
        self, url: str, context: ssl.SSLContext | None = None, *, timeout: float = PATIENCE
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection: http.client.HTTPConnection
        if context is not None:
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=timeout
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> Reply:
        """:raises one of CUT: the answer did not come whole."""
        self._connection.request("GET", path, headers=dict(fields or {}))
        with self._connection.getresponse() as response:
            return Reply(response.status, response.msg, response.read())

    @property
    def port(self) -> int:
        """Its own; 0: it is not connected."""
        return int(self._connection.sock.getsockname()[1]) if self._connection.sock else 0

    def close(self) -> None:
        self._connection.close()


@contextmanager
def hammering(count: int, work: Callable[[int, Event], None]) -> Iterator[None]:
    """`work(number, over)` in so many threads until the end, and whatever they raised."""
    over = Event()
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(work, number, over) for number in range(count)]
        try:
            yield
        finally:
            over.set()
        for one in running:
            one.result(PATIENCE)


def get_patiently(client: Client, path: str, within: float = PATIENCE) -> Reply:
    """Again until it is answered whole, for servers that are just being restarted."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with suppress(*CUT):
            return client.get(path)
        client.close()
    raise AssertionError(f"not answered within {within:g} s: {path}")
