"""A body that breaks goes on with the rest of it, in order, each byte once, of one version."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from edgecache.core.errors import (
    EdgecacheError,
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.model import Broken, ByteSpan, ObjectKey, ObjectMeta
from edgecache.core.ranges import IntRange
from edgecache.core.reply import Found, NotModified
from edgecache.resumed import PROGRESS, ResumedBody, resume_if
from edgecache.upstream import Body
from tests.pattern import Pattern

LENGTH = 1000
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


def found(start: int, stop: int, meta: ObjectMeta = META) -> Found:
    return Found(status=206, meta=meta, span=ByteSpan(start, stop), fields={})


class Part:
    """Bytes of the object, then an end: an error, or for None the end."""

    unread = 0

    def __init__(
        self, start: int, stop: int, end: EdgecacheError | None = None, *, piece: int = 100
    ) -> None:
        self.left = [DATA[at : min(at + piece, stop)] for at in range(start, stop, piece)]
        self.end = end
        self.closed = False

    async def read(self) -> bytes:
        if self.left:
            return self.left.pop(0)
        if self.end is not None:
            raise self.end
        return b""

    def close(self) -> None:
        self.closed = True


Answer = tuple[Found | NotModified, Part] | EdgecacheError


@dataclass
class Origin:
    """Answers what the test says, and gives up like one whose budget is used up then."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[IntRange, int]] = field(default_factory=list)
    resumes: list[Broken] = field(default_factory=list)
    wasted: int = 0
    open: list[Part] = field(default_factory=list)

    def body(self, first: Part, start: int = 0, stop: int = LENGTH) -> ResumedBody:
        self.open.append(first)
        return ResumedBody(found(start, stop), first, self.ask, self.resumes.append, self.waste)

    def waste(self, count: int) -> None:
        self.wasted += count

    async def ask(
        self, range_: IntRange, error: UpstreamError, attempt: int
    ) -> tuple[Found | NotModified, Body]:
        assert all(part.closed for part in self.open), "it has a connection still"
        if not self.answers:
            raise error
        self.asked.append((range_, attempt))
        answer = self.answers.pop(0)
        if isinstance(answer, EdgecacheError):
            raise answer
        self.open.append(answer[1])
        return answer


async def read(body: Body) -> bytes:
    data = b""
    while piece := await body.read():
        data += piece
    assert await body.read() == b"", "the end stays"
    body.close()
    return data


CUT = UpstreamError("cut")
CHANGED = pytest.raises(VersionChanged, match="replaced while it was read")


async def test_a_body_that_does_not_break_is_read_as_it_is() -> None:
    origin = Origin()
    part = Part(0, LENGTH)
    assert await read(origin.body(part)) == DATA
    assert part.closed
    assert (origin.asked, origin.resumes) == ([], [])


@pytest.mark.parametrize("at", [0, 1, 99, 100, 101, 999])
@pytest.mark.parametrize("end", [CUT, None], ids=["cut", "ended early"])
async def test_the_rest_is_asked_for_from_the_very_byte(
    at: int, end: EdgecacheError | None
) -> None:
    origin = Origin([(found(at, LENGTH), Part(at, LENGTH))])
    assert await read(origin.body(Part(0, at, end))) == DATA
    assert origin.asked == [(IntRange(at, LENGTH - 1), 0)]
    assert origin.resumes == [Broken.CUT]
    assert all(part.closed for part in origin.open)


async def test_the_rest_of_a_range_ends_where_the_range_does() -> None:
    origin = Origin([(found(350, 700), Part(350, 700))])
    assert await read(origin.body(Part(200, 350, CUT), 200, 700)) == DATA[200:700]
    assert origin.asked == [(IntRange(350, 699), 0)]


@pytest.mark.parametrize("piece", [1, 7, 100, 1000])
async def test_an_origin_that_sends_everything_is_skipped_to_where_it_broke(piece: int) -> None:
    origin = Origin([(found(0, LENGTH), Part(0, LENGTH, piece=piece))])
    assert await read(origin.body(Part(200, 333, CUT), 200, 700)) == DATA[200:700]
    read_on = -(-700 // piece) * piece  # the piece with the last byte is read to its end
    assert origin.wasted == 333 + read_on - 700


async def test_a_rest_that_breaks_is_gone_on_with_too() -> None:
    late = UpstreamTimeout("late")
    origin = Origin(
        [
            (found(300, LENGTH), Part(300, 500, late)),
            UpstreamError("refused"),
            (found(500, LENGTH), Part(500, LENGTH)),
        ]
    )
    assert await read(origin.body(Part(0, 300, CUT))) == DATA
    assert [(range_.first, attempt) for range_, attempt in origin.asked] == [
        (300, 0),
        (500, 1),
        (500, 2),
    ]
    assert origin.resumes == [Broken.CUT, Broken.STALLED, Broken.REFUSED]


async def test_when_it_may_not_be_asked_for_the_last_error_is_told() -> None:
    refused = UpstreamDenied("refused")
    origin = Origin([refused])
    body = origin.body(Part(0, 300, CUT))
    got = [await body.read() for _ in range(3)]
    with pytest.raises(UpstreamDenied) as caught:
        await body.read()
    assert caught.value is refused
    assert b"".join(got) == DATA[:300]
    assert origin.resumes == [Broken.CUT]


async def test_a_rest_that_nobody_was_asked_for_is_no_resume() -> None:
    left_alone = NotAsked("left alone", detail="breaker-open", retry_after=1)
    origin = Origin([left_alone, (found(0, LENGTH), Part(0, LENGTH))])
    with pytest.raises(NotAsked) as caught:
        await origin.body(Part(0, 0, CUT)).read()
    assert caught.value is left_alone
    assert (len(origin.asked), origin.resumes) == (1, [])


async def test_progress_and_only_progress_forgets_the_attempts_before_it() -> None:
    """Attempts count as long as less than PROGRESS comes between them."""
    length = 3 * PROGRESS
    meta = replace(META, length=length)
    attempts = []

    class Zeros:
        unread = 0

        def __init__(self, count: int) -> None:
            self.left = count

        async def read(self) -> bytes:
            count, self.left = min(self.left, 1000), max(self.left - 1000, 0)
            if not count:
                raise UpstreamError("cut")
            return bytes(count)

        def close(self) -> None: ...

    counts = iter([PROGRESS - 1, PROGRESS, 5, length])
    at = 10

    async def ask(
        range_: IntRange, error: UpstreamError, attempt: int
    ) -> tuple[Found | NotModified, Body]:
        nonlocal at
        assert range_.first == at
        attempts.append(attempt)
        count = next(counts)
        at += count
        return found(range_.first, length, meta), Zeros(count)

    body = ResumedBody(found(0, length, meta), Zeros(10), ask)
    assert len(await read(body)) == length
    assert attempts == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "answer",
    [
        (found(300, LENGTH, replace(META, etag='"b"')), Part(300, LENGTH)),
        (found(300, 900, replace(META, length=900)), Part(300, 900)),
        (NotModified({}, 0, 0), Part(0, 0)),
        VersionChanged("412"),
        NotFound("404"),
        RangeNotSatisfiable(7),
    ],
    ids=["another ETag", "another length", "304", "412", "404", "416"],
)
async def test_no_byte_of_another_version_comes(answer: Answer) -> None:
    origin = Origin([answer])
    body = origin.body(Part(0, 300, CUT))
    assert b"".join([await body.read() for _ in range(3)]) == DATA[:300]
    with CHANGED:
        await body.read()
    assert all(part.closed for part in origin.open)
    assert origin.resumes == [Broken.CUT]


async def test_who_leaves_while_the_rest_is_asked_for_leaves_nothing() -> None:
    waiting = asyncio.Event()

    async def ask(
        range_: IntRange, error: UpstreamError, attempt: int
    ) -> tuple[Found | NotModified, Body]:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    part = Part(0, 0, CUT)
    body = ResumedBody(found(0, LENGTH), part, ask)
    reading = asyncio.ensure_future(body.read())  # noqa: TID251
    await waiting.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    body.close()
    assert part.closed


async def test_what_nobody_wants_is_not_gone_on_with() -> None:
    origin = Origin([UpstreamError("refused"), (found(300, LENGTH), Part(300, LENGTH))])
    body = origin.body(Part(0, 300, CUT))
    wanted = iter([True, False])
    resume_if(body, lambda: next(wanted))
    for _ in range(3):
        await body.read()
    with pytest.raises(UpstreamError, match="refused"):
        await body.read()
    assert len(origin.asked) == 1


async def test_a_body_that_is_not_gone_on_with_is_left_as_it_is() -> None:
    resume_if(Part(0, LENGTH), lambda: False)


async def test_an_empty_object_has_no_rest() -> None:
    origin = Origin()
    assert await read(origin.body(Part(0, 0), 0, 0)) == b""
