"""What the tests of attempts share: an origin that answers what a test says, and time that passes
only where something is waited for."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from edgecache.attempts import Answer, Attempts
from edgecache.config import Costs
from edgecache.config_fetch import Fetch
from edgecache.core.errors import EdgecacheError, UpstreamError
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta, Reason
from edgecache.core.ranges import RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.metrics import Metrics
from edgecache.upstream import Body
from tests.waiting import until

KEY = ObjectKey("volume", "outputs/clip.mp4")
META = ObjectMeta(
    key=KEY,
    etag='"a"',
    origin_etag='"a"',
    length=6,
    last_modified=None,
    date=None,
    request_time=0,
    response_time=0,
    headers=(),
)
FOUND = Found(status=206, meta=META, span=ByteSpan(0, 6), fields={})


@dataclass
class Pieces:
    """A body of what is in `left`; an error in it breaks it."""

    left: list[bytes | EdgecacheError] = field(default_factory=lambda: [b"abc", b"def"])
    closed: int = 0
    unread: int = 0

    async def read(self) -> bytes:
        piece = self.left.pop(0) if self.left else b""
        if isinstance(piece, EdgecacheError):
            raise piece
        return piece

    def close(self) -> None:
        self.closed += 1


@dataclass
class Held:
    """An answer that comes once the gate is set."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    then: Found | EdgecacheError = FOUND


Scene = Found | NotModified | EdgecacheError | Held


class Scripted:
    """An upstream that answers one request after the other with what is in `answers`, then with
    `always`."""

    def __init__(self) -> None:
        self.answers: list[Scene] = []
        self.always: Scene = Held()
        self.bodies: list[Pieces] = []
        self.asked: list[tuple[RangeSpec | None, str, str]] = []
        self.running = 0
        self.most = 0
        self.closed = False

    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        if_match: str = "",
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        self.asked.append((range_, if_match, if_none_match))
        answer = self.answers.pop(0) if self.answers else self.always
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if isinstance(answer, Held):
                await answer.gate.wait()
                answer = answer.then
        finally:
            self.running -= 1
        if isinstance(answer, EdgecacheError):
            raise answer
        self.bodies.append(Pieces())
        return answer, self.bodies[-1]

    async def close(self) -> None:
        self.closed = True


class Bench:
    """Attempts at a scripted origin. Sleeping takes no time, but moves the clock."""

    def __init__(self, connections: int | None = None, **fetch: Any) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.metrics = Metrics(Costs())
        self.upstream = Scripted()
        self.attempts = Attempts(
            self.upstream,
            Fetch(**fetch),
            self.metrics,
            connections=connections,
            clock=lambda: self.now,
            sleep=self._sleep,
            chance=lambda: 1.0,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def get(self, reason: Reason = Reason.DEMAND, key: ObjectKey = KEY) -> Answer:
        return await self.attempts.get(key, None, reason=reason)

    async def failure(self, reason: Reason = Reason.DEMAND, key: ObjectKey = KEY) -> EdgecacheError:
        """What a request fails with."""
        try:
            (await self.get(reason, key)).body.close()
        except EdgecacheError as error:
            return error
        raise AssertionError("it was answered")

    async def arrived(self, count: int) -> None:
        await until(lambda: len(self.upstream.asked) == count)

    @property
    def turns(self) -> tuple[int, int]:
        """(taken, waiting)"""
        return self.attempts.queue.taken, self.attempts.queue.waiting


def answered(status: int, error: EdgecacheError | None = None) -> EdgecacheError:
    error = error or UpstreamError("no")
    error.forward_status = status
    return error
