"""Every request and byte of the origins is counted once, and a dead one is known."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from edgecache.config import Costs
from edgecache.core.errors import (
    EdgecacheError,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.index import Route
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta, Reason
from edgecache.core.ranges import IntRange, RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.metrics import Metrics
from edgecache.origins import DEAD_AFTER, Origins
from edgecache.upstream import Body
from tests import serving

serve = serving.serve

KEY = ObjectKey("volume", "outputs/clip.mp4")
ROUTE = Route(label="/", ttl=60, browser_ttl=60)
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
    """A body of two pieces."""

    left: list[bytes] = field(default_factory=lambda: [b"abc", b"def"])
    closed: int = 0
    unread: int = 0

    async def read(self) -> bytes:
        return self.left.pop(0) if self.left else b""

    def close(self) -> None:
        self.closed += 1


class Scripted:
    """An upstream that answers what the test puts into `answers`."""

    def __init__(self) -> None:
        self.answers: list[Found | NotModified | EdgecacheError] = []
        self.body = Pieces()
        self.asked: list[tuple[RangeSpec | None, str, str]] = []
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
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, EdgecacheError):
            raise answer
        return answer, self.body

    async def close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self) -> None:
        self.metrics = Metrics(Costs())
        self.upstream = Scripted()
        self.origins = Origins({"volume": self.upstream, "other": Scripted()}, self.metrics)

    async def get(self, reason: Reason = Reason.DEMAND) -> Body:
        _, body = await self.origins.get(KEY, IntRange(0, 5), route=ROUTE, reason=reason)
        return body

    def requests(self, code_class: str) -> float:
        return self.metrics.total("origin_requests_total", code_class=code_class)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_body_is_counted_as_it_is_read(bench: Bench) -> None:
    bench.upstream.answers = [FOUND]
    body = await bench.get(Reason.PASSTHROUGH)
    total, inflight = bench.metrics.total, "origin_inflight"
    assert (total("origin_body_bytes_total"), total(inflight)) == (0, 1)
    assert await body.read() == b"abc"
    assert total("origin_body_bytes_total", route="/", reason="passthrough") == 3
    body.close()
    assert (total("origin_body_bytes_total"), total(inflight)) == (3, 0)
    body.close()
    assert total(inflight) == 0
    assert bench.upstream.body.closed == 2


async def test_conditions_are_passed_on(bench: Bench) -> None:
    bench.upstream.answers = [NotModified({}, 0, 0)]
    await bench.origins.get(
        KEY, None, route=ROUTE, reason=Reason.REVALIDATE, if_match="m", if_none_match="n"
    )
    assert bench.upstream.asked == [(None, "m", "n")]
    assert bench.requests("3xx") == 1


def answered(status: int, make: Callable[[str], EdgecacheError] = UpstreamError) -> EdgecacheError:
    error = make("no")
    error.forward_status = status
    return error


@pytest.mark.parametrize(
    ("answer", "code_class", "is_failure"),
    [
        (FOUND, "2xx", False),
        (NotModified({}, 0, 0), "3xx", False),
        (answered(404, NotFound), "4xx", False),
        (answered(416, lambda _: RangeNotSatisfiable(6)), "4xx", False),
        (answered(412, VersionChanged), "4xx", False),
        (answered(403, UpstreamDenied), "4xx", True),
        (answered(500), "5xx", True),
        (answered(503, UpstreamBusy), "5xx", True),
        (UpstreamError("refused"), "error", True),
        (UpstreamTimeout("late"), "error", True),
    ],
)
async def test_each_request_is_counted_by_its_answer(
    bench: Bench, answer: Found | NotModified | EdgecacheError, code_class: str, is_failure: bool
) -> None:
    for _ in range(DEAD_AFTER):
        bench.upstream.answers = [answer]
        with suppress(EdgecacheError):
            (await bench.get()).close()
    assert bench.requests(code_class) == DEAD_AFTER
    assert bench.metrics.total("origin_time_to_first_byte_seconds_count") == DEAD_AFTER
    assert bench.origins.trouble() == ("origin failing: volume" if is_failure else "")


async def test_one_success_brings_an_origin_back(bench: Bench) -> None:
    bench.upstream.answers = [*[UpstreamError("no") for _ in range(DEAD_AFTER + 2)], FOUND]
    for number in range(DEAD_AFTER + 2):
        with pytest.raises(UpstreamError):
            await bench.get()
        assert bool(bench.origins.trouble()) == (number + 1 >= DEAD_AFTER)
    (await bench.get()).close()
    assert bench.origins.trouble() == ""


async def test_a_cancelled_request_is_counted_and_says_nothing_of_the_origin(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        for asking in [tasks.create_task(bench.get()) for _ in range(DEAD_AFTER)]:
            await asyncio.sleep(0)
            asking.cancel()
    assert bench.requests("error") == DEAD_AFTER
    assert bench.metrics.total("origin_inflight") == 0
    assert bench.origins.trouble() == ""


async def test_close_closes_every_origin(bench: Bench) -> None:
    await bench.origins.close()
    assert bench.upstream.closed


async def test_an_error_s_body_is_bought_for_what_its_request_was_and_wasted(bench: Bench) -> None:
    error = answered(502)
    error.bought = 700
    bench.upstream.answers = [error]
    with pytest.raises(UpstreamError):
        await bench.get(Reason.RETRY)
    total = bench.metrics.total
    assert total("origin_body_bytes_total", reason="retry", route="/") == 700
    assert total("origin_body_bytes_total") == total("origin_wasted_bytes_total") == 700
    assert total("origin_wasted_bytes_total", cause="error") == 700


@pytest.mark.parametrize(
    ("reason", "duplicates"),
    [(Reason.DEMAND, 4), (Reason.READAHEAD, 4), (Reason.RESUME, 4), (Reason.REVALIDATE, 0)],
)
async def test_bytes_that_are_here_already_are_duplicates(
    bench: Bench, reason: Reason, duplicates: int
) -> None:
    seen = []

    def here(meta: ObjectMeta, span: ByteSpan) -> int:
        seen.append(span)
        return min(span.stop, 4) - min(span.start, 4)

    bench.origins.here = here
    bench.upstream.answers = [FOUND]
    body = await bench.get(reason)
    while await body.read():
        pass
    body.close()
    total = bench.metrics.total
    assert total("origin_body_bytes_total", reason="duplicate") == duplicates
    assert total("origin_body_bytes_total", reason=reason) == 6 - duplicates
    assert seen[:2] == ([ByteSpan(0, 3), ByteSpan(3, 6)] if duplicates else [])


async def test_what_nobody_read_of_a_dropped_body_is_bought_and_wasted_once(bench: Bench) -> None:
    bench.upstream.answers = [FOUND]
    body = await bench.get()
    await body.read()
    bench.upstream.body.unread = 2
    for _ in range(2):
        body.close()
    assert bench.metrics.total("origin_body_bytes_total", reason="demand") == 5
    assert bench.metrics.total("origin_wasted_bytes_total", cause="unread") == 2
