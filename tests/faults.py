"""What can go wrong with one answer of the origin, as small values that change it.

Rule of this module: an action changes the Answer before it is sent, or adds a step at a byte of
its body; several combine. Positions count the body bytes of that answer.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.client import responses
from typing import Protocol
from xml.sax.saxutils import escape

from tests.pattern import Bytes, ByteSource

BEFORE_HEAD = -1


class Framing(Enum):
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"


class Ended(Exception):
    """A step ended the answer, and with it the connection."""


class Wire(Protocol):
    """What a step may do to the connection."""

    async def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def reset(self) -> None: ...


Step = Callable[[Wire], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Answer:
    """One response, not sent yet: `body[start:stop]` is what follows the head."""

    status: int
    fields: dict[str, str]
    body: ByteSource = field(default_factory=lambda: Bytes(b""))
    start: int = 0
    stop: int = 0
    framing: Framing = Framing.LENGTH
    steps: list[tuple[int, Step]] = field(default_factory=list)
    before: bytes = b""
    after: bytes = b""

    def at(self, position: int | None, step: Step) -> None:
        self.steps.append((BEFORE_HEAD if position is None else position, step))

    def set(self, name: str, value: str | None) -> None:
        """Replace a field, whatever its case; None removes it."""
        for present in [one for one in self.fields if one.lower() == name.lower()]:
            del self.fields[present]
        if value is not None:
            self.fields[name] = value

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


Action = Callable[[Answer], None]


def error_answer(status: int, code: str, message: str, string_to_sign: str = "") -> Answer:
    """S3's error document, as talkative as S3's: none of it belongs in front of a client."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        f"<StringToSign>{escape(string_to_sign) or 'AWS4-HMAC-SHA256 origin'}</StringToSign>"
        "<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()
    fields = {"Content-Type": "application/xml"}
    return Answer(status=status, fields=fields, body=Bytes(body), stop=len(body))


class Gate:
    """Holds answers until the test releases it; then, and from then on, lets them pass."""

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self._moved = moved
        self.reached = asyncio.Event()
        self.waiting = 0
        self._released = asyncio.Event()

    def release(self) -> None:
        self._released.set()

    async def __call__(self, wire: Wire) -> None:
        self.reached.set()
        self.waiting += 1
        self._moved()
        try:
            await self._released.wait()
        finally:
            self.waiting -= 1


@dataclass(frozen=True, slots=True)
class Hold:
    """Pause at byte `after`, or before the head, until the gate is released."""

    gate: Gate
    after: int | None = None

    def __call__(self, answer: Answer) -> None:
        answer.at(self.after, self.gate)


@dataclass(frozen=True, slots=True)
class Stall:
    """No more bytes, for ever; only the client or the end of the test ends it."""

    after: int | None = None

    def __call__(self, answer: Answer) -> None:
        answer.at(self.after, Gate())


@dataclass(frozen=True, slots=True)
class Cut:
    """An orderly close, too early."""

    after: int | None = None

    def __call__(self, answer: Answer) -> None:
        async def close(wire: Wire) -> None:
            wire.close()
            raise Ended

        answer.at(self.after, close)


@dataclass(frozen=True, slots=True)
class Reset:
    """RST in place of the rest."""

    after: int | None = None

    def __call__(self, answer: Answer) -> None:
        async def reset(wire: Wire) -> None:
            wire.reset()
            raise Ended

        answer.at(self.after, reset)


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes and a close in place of an answer: a garbage status line, or b"" for none."""

    data: bytes

    def __call__(self, answer: Answer) -> None:
        async def write(wire: Wire) -> None:
            if self.data:
                await wire.write(self.data)
            wire.close()
            raise Ended

        answer.at(None, write)


@dataclass(frozen=True, slots=True)
class Before:
    """Bytes in front of the status line: 100 Continue, a thousand times."""

    data: bytes

    def __call__(self, answer: Answer) -> None:
        answer.before += self.data


@dataclass(frozen=True, slots=True)
class Extra:
    """Bytes after the end of a whole answer, on a connection that stays open."""

    data: bytes

    def __call__(self, answer: Answer) -> None:
        answer.after += self.data


@dataclass(frozen=True, slots=True)
class Framed:
    """The same body with another framing; with Cut, chunked lacks its last chunk."""

    framing: Framing

    def __call__(self, answer: Answer) -> None:
        answer.framing = self.framing


@dataclass(frozen=True, slots=True)
class Fields:
    """Header fields set, or removed with None. Values go out as they are, CR and NUL included."""

    fields: Mapping[str, str | None]

    def __call__(self, answer: Answer) -> None:
        for name, value in self.fields.items():
            answer.set(name, value)


@dataclass(frozen=True, slots=True)
class Error:
    """An error document in place of the answer."""

    status: int
    code: str = "InternalError"
    message: str = "We encountered an internal error."
    fields: Mapping[str, str | None] = field(default_factory=dict)

    def __call__(self, answer: Answer) -> None:
        error = error_answer(self.status, self.code, self.message)
        replace_body(answer, error.body)
        answer.status, answer.fields = error.status, error.fields
        Fields(self.fields)(answer)


@dataclass(frozen=True, slots=True)
class Bare:
    """A status without a body, the fields left as they are: an unasked 304, a 204."""

    status: int

    def __call__(self, answer: Answer) -> None:
        answer.status = self.status
        replace_body(answer, Bytes(b""))
        answer.set("Content-Range", None)


@dataclass(frozen=True, slots=True)
class Redirect:
    location: str
    status: int = 307

    def __call__(self, answer: Answer) -> None:
        Error(self.status, "TemporaryRedirect", "Go there.", {"Location": self.location})(answer)


@dataclass(frozen=True, slots=True)
class Shift:
    """Another span than the one asked for, with a Content-Range that says so."""

    start: int = 0
    stop: int = 0

    def __call__(self, answer: Answer) -> None:
        if answer.status == 206:
            answer.start = max(answer.start + self.start, 0)
            answer.stop = min(answer.stop + self.stop, answer.body.length)
            ContentRange("bytes {first}-{last}/{total}")(answer)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A Content-Range that lies, is malformed or (None) missing; the body is the right one.

    :param template: may hold {first}, {last} and {total}; or a function of the three.
    """

    template: str | Callable[[int, int, int], str] | None

    def __call__(self, answer: Answer) -> None:
        first, last, total = answer.start, answer.stop - 1, answer.body.length
        match self.template:
            case None:
                value = None
            case str(template):
                value = template.format(first=first, last=last, total=total)
            case function:
                value = function(first, last, total)
        answer.set("Content-Range", value)


@dataclass(frozen=True, slots=True)
class Multipart:
    """multipart/byteranges with one part, in answer to a single range."""

    boundary: str = "3d6b6a416f9b5"

    def __call__(self, answer: Answer) -> None:
        head = (
            f"\r\n--{self.boundary}\r\nContent-Type: {answer.fields.get('Content-Type', '')}\r\n"
            f"Content-Range: {answer.fields.get('Content-Range', '')}\r\n\r\n"
        )
        data = answer.body.read(answer.start, answer.stop)
        end = f"\r\n--{self.boundary}--\r\n"
        replace_body(answer, Bytes(head.encode() + data + end.encode()))
        answer.set("Content-Range", None)
        answer.set("Content-Type", f"multipart/byteranges; boundary={self.boundary}")


@dataclass(frozen=True, slots=True)
class Overwritten:
    """The file is overwritten while it is read: from byte `after` on, the bytes are `data`'s."""

    after: int
    data: ByteSource

    def __call__(self, answer: Answer) -> None:
        answer.body = Spliced(answer.body, self.data, answer.start + self.after)


@dataclass(frozen=True, slots=True)
class Spliced:
    before: ByteSource
    after: ByteSource
    border: int

    @property
    def length(self) -> int:
        return self.before.length

    def read(self, start: int, stop: int) -> bytes:
        border = min(max(start, self.border), stop)
        return self.before.read(start, border) + self.after.read(border, stop)


def replace_body(answer: Answer, body: ByteSource) -> None:
    answer.body, answer.start, answer.stop = body, 0, body.length


@dataclass(slots=True, kw_only=True)
class Fault:
    """Actions, and the requests that they befall. A spent one leaves the origin's list."""

    actions: tuple[Action, ...]
    key: str = ""
    range: str | None = None
    reused: bool = False
    skip: int = 0
    times: int | None = 1

    def befalls(self, key: str, range_: str | None, *, reused: bool) -> bool:
        """Whether this request suffers it, counting it if so."""
        matches = key.startswith(self.key) and self.range in (None, range_)
        if not matches or self.spent or (self.reused and not reused):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    @property
    def spent(self) -> bool:
        return self.times == 0


def send_rst(transport: asyncio.Transport) -> None:
    """Close with RST rather than FIN: what is not sent yet is dropped."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    transport.abort()
