"""The worker's side of the relay: what it can't answer itself, the keeper does.

Rule of this module: bytes pass through as they are. The client sees what it would have seen of the
keeper, and the keeper sees what it would have seen of the client; only connections are each side's
own.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from aiohttp import web
from multidict import CIMultiDict

from edgecache.core.errors import Unavailable, UpstreamError
from edgecache.tasks import Tasks
from edgecache.web.exchange import CLOSED, KEPT, Written, connection_line, stays_open
from edgecache.web.keeper import READ_SIZE, Head, KeeperConnection, KeeperLost, Keepers, Receiver
from edgecache.web.peer import FIELD, INTERNAL, Peer, encode
from edgecache.web.refusal import target

log = logging.getLogger("edgecache.relay")

# The most of one answer that is held for a client that falls behind.
HELD = 2**18
# What is read of a request's body at once.
BODY_PIECE = 2**16
# Each connection's own (RFC 9110 §7.6.1), and the field that no client may send.
DROPPED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        FIELD.lower().encode(),
    }
)
SAME = frozenset({(1, 0), (1, 1)})
# What the message can't be read without, even where Connection names it.
ESSENTIAL = frozenset({b"host", b"content-length"})


def request_head(request: web.BaseRequest, peer: Peer, *, chunked: bool) -> bytes:
    """The client's request as it came, for the keeper."""
    # HTTP/1.0 differs in the connection only. Versions that are none are the keeper's to refuse.
    version = "1.1" if request.version in SAME else "{}.{}".format(*request.version)
    first = f"{request.method} {request.raw_path} HTTP/{version}\r\n{FIELD}: {encode(peer)}\r\n"
    pieces = [first.encode("utf-8", "surrogateescape")]
    dropped = DROPPED
    if "Connection" in request.headers:
        dropped |= connection_options(request)
    for name, value in request.raw_headers:
        if name.lower() not in dropped:
            pieces += (name, b": ", value, b"\r\n")
    if "Host" not in request.headers:
        pieces.append(b"Host:\r\n")  # RFC 9112 §3.2: HTTP/1.1 has one, be it empty
    pieces.append(b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
    return b"".join(pieces)


def connection_options(request: web.BaseRequest) -> frozenset[bytes]:
    values = ",".join(request.headers.getall("Connection"))
    names = values.encode("utf-8", "surrogateescape").lower().split(b",")
    return frozenset(name.strip() for name in names) - ESSENTIAL


class ToClient:
    """An answer on its way to the client's transport."""

    __slots__ = ("_request", "_timeout", "_transport", "keeps")

    def __init__(
        self, request: web.BaseRequest, transport: asyncio.WriteTransport, write_timeout: float
    ) -> None:
        self._request = request
        self._transport = transport
        self._timeout = write_timeout
        self.keeps = stays_open(request)

    def begin(self, head: Head, data: bytes) -> bool:
        request = self._request
        request.writer.output_size += 1  # aiohttp's sign that an answer has begun
        self.keeps = self.keeps and not head.closes
        line = connection_line(request.version, keep_alive=self.keeps)
        if line and not head.closes:
            end = head.size - 2
            data = b"".join((data[:end], line.encode(), data[end:]))
        return self.more(data)

    def more(self, data: bytes) -> bool:
        if self._transport.is_closing():  # uvloop's raises when it is written to
            return False
        self._transport.write(data)
        return not (self._request.protocol.writing_paused or self._transport.is_closing())

    def interim(self, data: bytes) -> None:
        # HTTP/1.0 has none.
        if self._request.version >= (1, 1) and not self._transport.is_closing():
            self._transport.write(data)

    def room(self) -> int:
        return HELD - self._transport.get_write_buffer_size()

    async def drained(self) -> None:
        """:raises ConnectionError: the client has left; TimeoutError: it takes nothing."""
        if self._request.protocol.writing_paused:
            async with asyncio.timeout(self._timeout):
                await self._request.writer.drain()
        if self._transport.is_closing():
            raise ConnectionResetError("the client has left")

    def cut(self) -> None:
        """The client sees an incomplete body, not a short one."""
        self.keeps = False
        self._transport.abort()


class Received:
    """An answer for the worker itself, read as an iterator. Close it."""

    def __init__(self, keepers: Keepers) -> None:
        self._keepers = keepers
        self._connection: KeeperConnection | None = None
        self._piece = b""
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()

    def begin(self, head: Head, data: bytes) -> bool:
        self.status = head.status
        for line in data[: head.size - 4].decode("utf-8", "surrogateescape").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            self.headers.add(name, value.strip())
        return self.more(data[head.size :])

    def more(self, data: bytes) -> bool:
        self._piece = data
        return not data  # one piece at a time

    def interim(self, data: bytes) -> None: ...

    def room(self) -> int:
        return READ_SIZE

    def read_from(self, connection: KeeperConnection) -> None:
        self._connection = connection

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """:raises UpstreamError: cut."""
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        if not self._piece and not connection.ended:
            connection.resume()
            try:
                await connection.full_or_ended()
            except KeeperLost as lost:
                raise cut_off(lost) from lost
        data, self._piece = self._piece, b""
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Keeps the connection if the answer has ended, drops it otherwise."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._keepers.give(connection)


def cut_off(lost: KeeperLost) -> UpstreamError:
    return UpstreamError("the answer was cut off", hint=str(lost))


class Body:
    """A request's, on its way up."""

    def __init__(self, request: web.BaseRequest, *, chunked: bool) -> None:
        self._content = request.content
        self._chunked = chunked

    async def send(self, connection: KeeperConnection) -> None:
        try:
            while data := await self._content.read(BODY_PIECE):
                if self._chunked:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                connection.write(data)
                await connection.drained()
        except Exception:  # aiohttp has several for a body that breaks off or a client that left
            connection.drop()
        else:
            if self._chunked:
                connection.write(b"0\r\n\r\n")


class Relay:
    """`path` is the keeper's socket. Times are in seconds: `patience` until a request that no
    keeper takes is given up, `write_timeout` for a client that takes nothing."""

    def __init__(self, path: str | Path, *, patience: float, write_timeout: float) -> None:
        self._keepers = Keepers(str(path))
        self._patience = patience
        self._write_timeout = write_timeout
        self._tasks = Tasks()

    async def close(self) -> None:
        """Answers that still run are cut."""
        self._keepers.close()
        await self._tasks.close()

    async def forward(self, request: web.BaseRequest, peer: Peer) -> Written:
        """The keeper's answer to it, on the client's connection. Logged and counted there.

        :raises Unavailable: no keeper took it, and nothing of an answer was sent.
        """
        if request.transport is None:
            return CLOSED
        chunked = "Transfer-Encoding" in request.headers
        body = None
        if request.can_read_body and (chunked or "Content-Length" in request.headers):
            body = Body(request, chunked=chunked)
        question = request_head(request, peer, chunked=chunked and body is not None)
        to_client = ToClient(request, request.transport, self._write_timeout)
        try:
            await self._pass_on(question, to_client, request.method == "HEAD", body)
        except KeeperLost as lost:
            log.warning("answer cut target=%.200r reason=%s", target(request), lost)
            to_client.cut()
        except ConnectionError:
            to_client.cut()
        except TimeoutError:
            log.info("answer cut target=%.200r reason=the client does not read", target(request))
            to_client.cut()
        return KEPT if to_client.keeps else CLOSED

    async def _pass_on(
        self, question: bytes, to_client: ToClient, bodiless: bool, body: Body | None
    ) -> None:
        connection = await self._answered(question, to_client, bodiless=bodiless, body=body)
        try:
            while not connection.ended:
                await connection.full_or_ended()
                if connection.paused:
                    await to_client.drained()
                    connection.resume()
        finally:
            self._keepers.give(connection)
        await to_client.drained()

    async def fetch(
        self, target: str, fields: Iterable[tuple[str, str]], peer: Peer
    ) -> tuple[int, CIMultiDict[str], Received]:
        """A GET of the worker's own: status, fields, and the body as an iterator to be closed.

        :raises Unavailable: no keeper took it; UpstreamError: cut, then or while it is read.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return await self._fetched(f"GET {target}", lines, b"", peer)

    async def tell(self, path: str, data: bytes) -> None:
        """A message for the keeper itself: it arrives, in bad times twice.

        :raises Unavailable, UpstreamError: it may not have.
        """
        lines = f"Content-Length: {len(data)}\r\n"
        status, _, body = await self._fetched(f"POST {path}", lines, data, INTERNAL)
        await body.aclose()
        if status != 204:
            raise UpstreamError("the keeper refused a message", hint=f"{path}: {status}")

    async def _fetched(
        self, line: str, fields: str, data: bytes, peer: Peer
    ) -> tuple[int, CIMultiDict[str], Received]:
        head = f"{line} HTTP/1.1\r\n{FIELD}: {encode(peer)}\r\nHost:\r\n{fields}\r\n"
        received = Received(self._keepers)
        try:
            question = head.encode("utf-8", "surrogateescape") + data
            received.read_from(await self._answered(question, received))
        except KeeperLost as lost:
            raise cut_off(lost) from lost
        return received.status, received.headers, received

    async def _answered(
        self,
        question: bytes,
        receiver: Receiver,
        *,
        bodiless: bool = False,
        body: Body | None = None,
    ) -> KeeperConnection:
        """A connection on which the answer has begun. One that breaks before is no reason to give
        up, once: it may have been idle for long, or the keeper's successor is starting.

        :raises Unavailable, KeeperLost:
        """
        deadline = asyncio.get_running_loop().time() + self._patience
        is_retry = False
        while True:
            connection = await self._keepers.take(deadline, fresh=is_retry)
            try:
                connection.ask(question, receiver, bodiless=bodiless)
                if body is not None:
                    connection.upload(self._tasks.spawn(body.send(connection), name="upload"))
                await connection.begun()
            except KeeperLost as lost:
                connection.drop()
                if lost.answered:
                    raise
                if is_retry or body is not None:
                    raise Unavailable("not ready, try again", hint=str(lost)) from lost
                is_retry = True
            except BaseException:
                connection.drop()
                raise
            else:
                return connection
