"""What the tests of fills alone share: an origin's body that waits, and a store that is a dict."""

import asyncio

from edgecache.core.model import FillStatus, ObjectKey, ObjectMeta, SliceKey
from edgecache.fill import Ask, Fill, FillTable, Source
from edgecache.slice_buffer import SliceBuffer
from edgecache.tasks import Tasks
from tests.pattern import Pattern
from tests.waiting import until

SIZE = 100  # of a slice
LENGTH = 10 * SIZE - 1
DATA = Pattern(LENGTH).read()
META = ObjectMeta(
    key=ObjectKey("volume", "outputs/clip.mp4"),
    etag='"a"',
    origin_etag='"a"',
    length=LENGTH,
    last_modified=None,
    date=None,
    request_time=0,
    response_time=0,
    headers=(),
)


class Body:
    """An origin's body: what `give` let out so far, in pieces of `piece` bytes."""

    def __init__(self, data: bytes = DATA, *, given: int | None = None, piece: int = 30) -> None:
        self.data = data
        self.given = len(data) if given is None else given
        self.piece = piece
        self.position = 0
        self.closed = False
        self.error: Exception | None = None
        self._more = asyncio.Event()

    async def read(self) -> bytes:
        while self.position == self.given and self.error is None and self.given < len(self.data):
            self._more.clear()
            await self._more.wait()
        if self.position == self.given and self.error is not None:
            raise self.error
        start = self.position
        self.position = min(start + self.piece, self.given)
        return self.data[start : self.position]

    def give(self, count: int) -> None:
        self.given += count
        self._more.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self._more.set()

    def close(self) -> None:
        self.closed = True


class Bench:
    """A fill table, a store that is a dict, and what happened."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.ends: list[FillStatus] = []
        self.table = FillTable(self.tasks, on_end=self.ends.append)
        self.stored: dict[int, bytes] = {}
        self.takes = True
        self.storing = 0
        self.most_storing = 0
        self.disk = asyncio.Event()
        self.disk.set()

    async def sink(self, key: SliceKey, meta: ObjectMeta, data: bytearray) -> bool:
        assert key.version == meta.version
        self.storing += 1
        self.most_storing = max(self.storing, self.most_storing)
        await self.disk.wait()
        self.storing -= 1
        if self.takes:
            self.stored[key.number] = bytes(data)
        return self.takes

    def start(self, body: Source, numbers: range, sent: range | None = None) -> Fill:
        async def ask() -> tuple[Source, range]:
            return body, sent or numbers

        return self.ask(ask, numbers)

    def ask(self, ask: Ask, numbers: range) -> Fill:
        return self.table.start(Fill(META, numbers, SIZE), ask, self.sink)

    async def ended(self, *ends: FillStatus) -> None:
        await until(lambda: not len(self.tasks))
        await asyncio.sleep(0)
        assert (len(self.table), self.ends) == (0, list(ends))


def bytes_of(number: int) -> bytes:
    return DATA[number * SIZE : (number + 1) * SIZE]


async def read(buffer: SliceBuffer) -> bytes:
    data = b""
    while len(data) < buffer.length:
        data += await buffer.wait(len(data), buffer.length)
    return data


async def idle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
