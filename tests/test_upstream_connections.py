"""Connections to the origin: kept where they can be, never trusted with an answer unasked for."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from unittest.mock import patch

import pytest

from edgecache.config import Origin
from edgecache.core.errors import NotFound, UpstreamError
from edgecache.core.model import ObjectKey
from edgecache.upstream import READ_BUFFER, HttpBody, S3Upstream
from tests.asking import DATA, KEY, QUICK, START, failure_of, get, read
from tests.conftest import FakeClock
from tests.faults import (
    Action,
    Answer,
    Cut,
    Error,
    Extra,
    Fields,
    Framed,
    Framing,
    Hold,
    Raw,
    Reset,
)
from tests.pattern import Pattern
from tests.runpod import RunPodOrigin
from tests.waiting import until


@pytest.fixture
async def upstream(runpod: RunPodOrigin) -> AsyncIterator[S3Upstream]:
    runpod.put(KEY.key, DATA)
    one = S3Upstream(Origin.model_validate(runpod.settings), QUICK, clock=time.time)
    yield one
    await one.close()


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
async def test_a_connection_is_kept_after_a_whole_body_and_after_an_error(
    upstream: S3Upstream, runpod: RunPodOrigin, framing: Framing
) -> None:
    runpod.fault(Framed(framing))
    for _ in range(2):
        _, body = await get(upstream, START)
        await read(body)
        with pytest.raises(NotFound):
            await upstream.get(ObjectKey("volume", "none"), None)
    assert [one.reused for one in runpod.requests[1 if framing is Framing.LENGTH else 2 :]] == [
        True
    ] * (3 if framing is Framing.LENGTH else 2)


async def test_a_connection_is_dropped_with_an_unread_body(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    _, body = await get(upstream)
    await body.read()
    body.close()
    body.close()
    await runpod.settled()
    assert runpod.requests[0].aborted or runpod.requests[0].sent == DATA.length
    await read((await get(upstream))[1])
    assert not runpod.requests[1].reused


@pytest.mark.parametrize("action", [Cut(), Reset(), Raw(b"")])
async def test_a_kept_connection_that_the_origin_closed_is_replaced_unseen(
    upstream: S3Upstream, runpod: RunPodOrigin, action: Action
) -> None:
    """U38: at the moment of reuse. One retry, on another connection."""
    await read((await get(upstream, START))[1])
    runpod.fault(action, reused=True)
    assert await read((await get(upstream, START))[1]) == DATA.read(0, 100_000)
    assert [one.reused for one in runpod.requests] == [False, True, False]


WRONG = b'HTTP/1.1 206 Partial Content\r\nContent-Length: 100000\r\nETag: "x"\r\n'
WRONG += b"Content-Range: bytes 0-99999/300000\r\n\r\n" + bytes(100_000)


@pytest.mark.parametrize("extra", [WRONG, b"x", b"\r\n" * 10, b"HTTP/1.1 200 OK\r\n"])
async def test_bytes_behind_an_answer_are_never_the_next_answer(
    upstream: S3Upstream, runpod: RunPodOrigin, extra: bytes
) -> None:
    """U39: they come when the connection is kept already."""
    gate = runpod.hold("no such key")
    runpod.fault(Hold(gate, after=100_000), Extra(extra))
    assert await read((await get(upstream, START))[1]) == DATA.read(0, 100_000)
    gate.release()
    await runpod.settled()
    for _ in range(50):
        await asyncio.sleep(0)
    found, body = await get(upstream, START)
    assert await read(body) == DATA.read(0, 100_000)
    assert found.meta.etag != '"x"'


async def test_more_than_was_announced_is_not_read(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    """U04: by Content-Range; the body goes on until the connection closes."""

    def longer(answer: Answer) -> None:
        answer.framing, answer.stop = Framing.CLOSE, 200_000

    runpod.fault(longer)
    _, body = await get(upstream, START)
    assert await read(body) == DATA.read(0, 100_000)
    assert await read((await get(upstream, START))[1]) == DATA.read(0, 100_000)
    assert not runpod.requests[1].reused


async def test_an_impossible_length_is_refused(upstream: S3Upstream, runpod: RunPodOrigin) -> None:
    runpod.fault(Fields({"Content-Range": f"bytes 0-99999/{10**17}"}))
    assert type(await failure_of(upstream)) is UpstreamError


async def test_cookies_are_not_kept(upstream: S3Upstream, runpod: RunPodOrigin) -> None:
    runpod.quirks.cloudflare_fields = True
    for _ in range(2):
        await read((await get(upstream, START))[1])
    assert runpod.requests[1].header("cookie") is None


async def test_the_clock_of_the_books_is_the_one_given(runpod: RunPodOrigin) -> None:
    clock = FakeClock()
    runpod.now = clock
    runpod.put(KEY.key, DATA)
    upstream = S3Upstream(Origin.model_validate(runpod.settings), QUICK, clock=clock)
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock(), UTC)):
        found, body = await get(upstream, START)
    assert (found.meta.request_time, found.meta.response_time) == (clock(), clock())
    body.close()
    await upstream.close()


# What had come of an answer that is dropped


async def test_what_had_come_of_a_dropped_answer_is_known_read_or_not(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    """In aiohttp's buffer, which is full, and behind it in the kernel's."""
    runpod.put(KEY.key, Pattern(10**7))
    most = 2 * READ_BUFFER + 1  # then aiohttp reads no more
    full, behind = runpod.hold(after=most), runpod.hold(after=most + 20_000)
    _, body = await get(upstream)
    assert isinstance(body, HttpBody)
    await until(lambda: body.unread == most)
    full.release()
    await until(lambda: behind.waiting)
    assert body.unread == most
    for _ in range(2):
        body.close()
        assert body.unread == most + 20_000 == runpod.requests[0].sent
    behind.release()


async def test_what_was_read_is_not_unread(upstream: S3Upstream) -> None:
    _, body = await get(upstream, START)
    assert isinstance(body, HttpBody)
    assert len(await read(body)) == 100_000
    assert body.unread == 0


async def test_the_whole_body_of_an_error_is_paid_for(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    for message, cut in (("no", ()), ("no" * 10_000, ()), ("no" * 10_000, (Cut(3000),))):
        runpod.fault(Error(502, "Bad", message), *cut)
        error = await failure_of(upstream)
        await runpod.settled()
        assert error.bought == runpod.requests[-1].sent > 0


async def test_an_answer_without_a_body_costs_nothing(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    runpod.fault(Reset())
    runpod.fault(Reset(), skip=1)  # aiohttp asks once more on a new connection
    assert (await failure_of(upstream)).bought == 0
