"""How an answer goes over the wire: written by hand, since HTTP libraries refuse to be wrong.

Rule of this module: a body byte is counted once the kernel has taken it.
"""

import asyncio
from collections.abc import Callable
from operator import itemgetter

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from tests.faults import BEFORE_HEAD, Answer, Framing, Wire, send_rst

PIECE = 64 * 1024
PIECES_A_SECOND = 20  # when the bandwidth is limited


class Written(web.StreamResponse):
    """A response that is written already: aiohttp has nothing left to do but to keep or close."""

    def __init__(self, *, keep: bool | None) -> None:
        super().__init__()
        self._keep_alive = keep

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the end is written."""


class Connection:
    """The client's connection, as a Wire."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._writer = request.writer
        self._transport = request.transport
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)  # drain until the kernel has it

    async def write(self, data: bytes) -> None:
        await self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        if self._transport is not None:
            send_rst(self._transport)


async def deliver(
    answer: Answer,
    wire: Wire,
    *,
    bodiless: bool = False,
    bandwidth: int = 0,
    count: Callable[[int], None],
) -> None:
    """Send head and body, pausing for each step at its byte; `count` gets what the kernel took."""
    length = 0 if bodiless else answer.stop - answer.start
    steps = sorted((one for one in answer.steps if one[0] <= length), key=itemgetter(0))
    for _, step in (one for one in steps if one[0] == BEFORE_HEAD):
        await step(wire)
    complete_head(answer)
    await wire.write(answer.before + answer.head())
    body = Body(answer, wire, bandwidth, count)
    for position, step in (one for one in steps if one[0] > BEFORE_HEAD):
        await body.send_until(position)
        await step(wire)
    await body.send_until(length)
    chunked = answer.framing is Framing.CHUNKED and not bodiless
    if end := (b"0\r\n\r\n" if chunked else b"") + answer.after:
        await wire.write(end)


def complete_head(answer: Answer) -> None:
    if answer.status in (204, 304) or "content-length" in map(str.lower, answer.fields):
        return
    match answer.framing:
        case Framing.LENGTH:
            answer.fields["Content-Length"] = str(answer.stop - answer.start)
        case Framing.CHUNKED:
            answer.fields["Transfer-Encoding"] = "chunked"
        case Framing.CLOSE:
            answer.fields["Connection"] = "close"


class Body:
    def __init__(
        self, answer: Answer, wire: Wire, bandwidth: int, count: Callable[[int], None]
    ) -> None:
        self.answer = answer
        self.wire = wire
        self.bandwidth = bandwidth
        self.count = count
        self.sent = 0
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()

    async def send_until(self, position: int) -> None:
        piece = min(PIECE, self.bandwidth // PIECES_A_SECOND + 1) if self.bandwidth else PIECE
        while self.sent < position:
            start = self.answer.start + self.sent
            stop = self.answer.start + min(self.sent + piece, position)
            await self._send(self.answer.body.read(start, stop))

    async def _send(self, data: bytes) -> None:
        if self.bandwidth:
            due = self.began + (self.sent + len(data)) / self.bandwidth
            await asyncio.sleep(max(due - self.loop.time(), 0))
        chunked = self.answer.framing is Framing.CHUNKED
        await self.wire.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        self.sent += len(data)
        self.count(len(data))
