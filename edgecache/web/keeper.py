"""Connections to the keeper: one question at a time, its answer handed on as it comes.

Rule of this module: the keeper is our own program. Only what ends an answer is parsed, and whatever
is not as the keeper writes it breaks the connection.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from edgecache.core.errors import Unavailable
from edgecache.web.peer import GREETING

MAX_HEAD = 2**16
# The most that is read at once: a slice of the smallest size comes in one piece.
READ_SIZE = 2**17
LEAST_READ = 2**12
# What of a request's body may wait here; the rest waits in the client's kernel.
WRITE_BUFFER = 2**16
# Between attempts to connect. Rarely needed: connects queue up while a keeper starts.
RETRY_PAUSE = 0.05


class KeeperLost(Exception):
    """The connection broke before the answer's end. `answered`: some of it had arrived."""

    def __init__(self, reason: str, *, answered: bool) -> None:
        super().__init__(reason)
        self.answered = answered


class Head(NamedTuple):
    """Of an answer's head, what its reader needs; `size` in bytes, with the empty line."""

    status: int
    size: int
    length: int  # of the body that follows
    closes: bool


class Receiver(Protocol):
    """Takes an answer. Each call says whether there is room for more."""

    def begin(self, head: Head, data: bytes) -> bool:
        """`data` is the head as it came, and the beginning of the body."""

    def more(self, data: bytes) -> bool: ...

    def interim(self, data: bytes) -> None:
        """A 1xx head."""

    def room(self) -> int:
        """How many bytes it would take now."""


def parse_head(data: bytes, size: int, *, bodiless: bool) -> Head:
    """:raises ValueError: not a head as the keeper writes it."""
    fields = data[:size].lower()
    if not fields.startswith(b"http/1.1 "):
        raise ValueError("not a status line")
    status = int(fields[9:12])
    closes = b"\r\nconnection: close\r\n" in fields
    if bodiless or status < 200 or status in (204, 304):
        return Head(status, size, 0, closes)
    _, name, rest = fields.partition(b"\r\ncontent-length:")
    if not name:
        raise ValueError("an answer without a length")
    return Head(status, size, int(rest[: rest.index(b"\r\n")]), closes)


class KeeperConnection(asyncio.BufferedProtocol):
    __slots__ = (
        "_bodiless",
        "_broken",
        "_buffer",
        "_head",
        "_left",
        "_loop",
        "_on_lost",
        "_receiver",
        "_reusable",
        "_transport",
        "_upload",
        "_waiter",
        "_writable",
        "answered",
        "ended",
        "greeted",
        "paused",
    )

    def __init__(self, buffer: memoryview, on_lost: Callable[["KeeperConnection"], None]) -> None:
        """`buffer` may be everyone's: nothing stays in it from one read to the next."""
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._head = b""
        self._broken = ""
        self._bodiless = self._reusable = False
        self._left = 0
        self.greeted = False
        self.answered = False  # the head has arrived
        self.ended = False
        self.paused = False  # the receiver has no room

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._broken

    @property
    def is_reusable(self) -> bool:
        return self.ended and self._reusable and self.is_open and self._upload is None

    def ask(self, data: bytes, receiver: Receiver, *, bodiless: bool = False) -> None:
        """`bodiless`: the answer has no body, whatever its head says (HEAD)."""
        self._receiver = receiver
        self._bodiless = bodiless
        self._head = b""
        self.answered = self.ended = False
        self.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """Until there is room for more of a request's body, or nobody to take it."""
        if self._writable is not None:
            await self._writable

    def upload(self, task: "asyncio.Task[None]") -> None:
        """It ends with the answer at the latest."""
        self._upload = task

    async def begun(self) -> None:
        """:raises KeeperLost:"""
        while not self.answered:
            await self._changed()

    async def full_or_ended(self) -> None:
        """Until the answer has ended, or is paused for want of room.

        :raises KeeperLost:
        """
        while not (self.ended or self.paused):
            await self._changed()

    async def welcomed(self) -> None:
        """:raises KeeperLost: what accepted it is no keeper of our version, or dead."""
        while not self.greeted:
            await self._changed()

    async def _changed(self) -> None:
        if self._broken:
            raise KeeperLost(self._broken, answered=self.answered or bool(self._head))
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def resume(self) -> None:
        if self.paused and self._transport is not None:
            self._transport.resume_reading()
        self.paused = False

    def drop(self) -> None:
        """At once: a handler of the keeper's that still works for it is cancelled."""
        self._break("dropped")

    def _break(self, reason: str) -> None:
        self._broken = self._broken or reason
        if self._upload is not None:
            self._upload.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # cast: uvloop's transports are not asyncio's by class.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._break("the keeper closed the connection")
        self.resume_writing()
        self._on_lost(self)

    def eof_received(self) -> None:
        self._break("the keeper closed the connection")

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._receiver is None:
            return self._buffer
        return self._buffer[: max(self._receiver.room(), LEAST_READ)]

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        receiver = self._receiver
        try:
            if receiver is None:
                self._greet(data)
            elif self.answered:
                self._count(len(data))
                self._handed_on(receiver.more(data))
            else:
                self._begin(receiver, data)
        except ValueError as error:
            self._break(f"the keeper speaks another language: {error}")

    def _greet(self, data: bytes) -> None:
        self._head += data
        if self.greeted or not GREETING.startswith(self._head):
            raise ValueError("not a greeting")
        if self._head == GREETING:
            self.greeted = True
            self._wake()

    def _begin(self, receiver: Receiver, data: bytes) -> None:
        data = self._head + data if self._head else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = parse_head(data, end + 4, bodiless=self._bodiless)
            if head.status >= 200:
                self.answered = True
                self._head = b""
                self._left = head.length
                self._reusable = not head.closes
                self._count(len(data) - head.size)
                self._handed_on(receiver.begin(head, data))
                self._wake()
                return
            receiver.interim(data[: head.size])
            data = data[head.size :]
        self._head = data
        if len(data) > MAX_HEAD:
            raise ValueError("a head without end")

    def _count(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ValueError("more than announced")

    def _handed_on(self, has_room: bool) -> None:
        if not self._left:
            self.ended = True
            self._receiver = None
            self._wake()
        elif not has_room and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()
            self._wake()


class Keepers:
    """The pool: the connection that was used last is used next, so that the others grow old."""

    def __init__(self, path: str, *, most_idle: int = 64) -> None:
        self._path = path
        self._most_idle = most_idle
        self._closed = False
        self._idle: list[KeeperConnection] = []
        self._open: set[KeeperConnection] = set()
        self._buffer = memoryview(bytearray(READ_SIZE))

    def __repr__(self) -> str:
        return f"<Keepers {len(self._open)} open, {len(self._idle)} idle>"

    async def take(self, deadline: float, *, fresh: bool = False) -> KeeperConnection:
        """`deadline` by the loop's clock.

        :raises Unavailable: no keeper has accepted a connection by then.
        """
        if self._closed:
            raise Unavailable("not ready, try again", hint="this worker ends")
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    if (connected := await self._connect()) is not None:
                        return connected
                    await asyncio.sleep(RETRY_PAUSE)
        except TimeoutError:
            raise Unavailable("not ready, try again", hint="no keeper answers") from None

    def give(self, connection: KeeperConnection) -> None:
        """Back, after the answer's end or before."""
        if connection.is_reusable and len(self._idle) < self._most_idle:
            self._idle.append(connection)
        else:
            connection.drop()

    def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            connection.drop()

    async def _connect(self) -> KeeperConnection | None:
        connection = KeeperConnection(self._buffer, self._lost)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: connection, self._path)
            if connection.is_open:
                self._open.add(connection)
            await connection.welcomed()
        except (OSError, KeeperLost):  # OSError too: a full backlog is EAGAIN
            connection.drop()
            return None
        except BaseException:
            connection.drop()
            raise
        return connection

    def _lost(self, connection: KeeperConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
