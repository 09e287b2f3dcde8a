"""The origin's wire: what is asked, what is not, and an end to every wait."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from unittest.mock import patch

import pytest

from edgecache import upstream as upstream_module
from edgecache.config import Fetch, Origin
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
from edgecache.core.model import ByteSpan, ObjectKey
from edgecache.core.ranges import IntRange, RangeSpec, SuffixRange
from edgecache.core.reply import Found, NotModified
from edgecache.upstream import Body, S3Upstream
from tests.conftest import FakeClock
from tests.faults import (
    Action,
    Answer,
    Before,
    Cut,
    Error,
    Extra,
    Fields,
    Framed,
    Framing,
    Hold,
    Raw,
    Redirect,
    Reset,
    Stall,
)
from tests.pattern import Pattern
from tests.runpod import RunPodOrigin

KEY = ObjectKey("volume", "outputs/clip.mp4")
DATA = Pattern(300_000)
QUICK = Fetch(connect_timeout=0.2, first_byte_timeout=0.2, stall_timeout=0.2, connections=4)
START = IntRange(0, 99_999)


@pytest.fixture
async def upstream(runpod: RunPodOrigin) -> AsyncIterator[S3Upstream]:
    runpod.put(KEY.key, DATA)
    one = S3Upstream(Origin(**runpod.settings), QUICK, clock=time.time)
    yield one
    await one.close()


async def read(body: Body) -> bytes:
    data = b""
    while piece := await body.read():
        data += piece
    body.close()
    return data


async def get(upstream: S3Upstream, range_: RangeSpec | None = None) -> tuple[Found, Body]:
    found, body = await upstream.get(KEY, range_)
    assert isinstance(found, Found)
    return found, body


# What is asked


@pytest.mark.parametrize(
    ("range_", "wire", "span"),
    [
        (None, None, ByteSpan(0, 300_000)),
        (START, "bytes=0-99999", ByteSpan(0, 100_000)),
        (IntRange(299_000, 400_000), "bytes=299000-400000", ByteSpan(299_000, 300_000)),
        (IntRange(299_000, None), "bytes=299000-", ByteSpan(299_000, 300_000)),
        (SuffixRange(10), "bytes=-10", ByteSpan(299_990, 300_000)),
    ],
)
async def test_a_range_is_asked_for_and_given(
    upstream: S3Upstream,
    runpod: RunPodOrigin,
    range_: RangeSpec | None,
    wire: str | None,
    span: ByteSpan,
) -> None:
    found, body = await get(upstream, range_)
    assert runpod.asked(KEY.key) == [wire]
    assert (found.span, found.meta.length) == (span, 300_000)
    assert await read(body) == DATA.read(span.start, span.stop)


async def test_only_three_fields_are_signed_and_nothing_else_is_sent(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    await upstream.get(KEY, START, if_match='"a"', if_none_match='W/"b"')
    (request,) = runpod.requests
    assert request.signed == ("host", "x-amz-content-sha256", "x-amz-date")
    assert set(request.header_names) == {
        "host",
        "x-amz-date",
        "x-amz-content-sha256",
        "authorization",
        "accept-encoding",
        "user-agent",
        "range",
        "if-match",
        "if-none-match",
    }
    assert request.header("accept-encoding") == "identity"
    assert request.header("if-none-match") == 'W/"b"'


@pytest.mark.parametrize("etag", ['W/"a"', ""])
async def test_a_weak_etag_is_not_sent_as_if_match(
    upstream: S3Upstream, runpod: RunPodOrigin, etag: str
) -> None:
    """RFC 9110 §13.1.1: compared strongly, it would never match."""
    await upstream.get(KEY, START, if_match=etag)
    assert runpod.requests[0].header("if-match") is None


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "a+b",
        "a#b",
        "a%b",
        "a%2Fb",
        "a?b=c",
        "a=b",
        "(a)",
        "ä/日本",
        "a&b",
        "~a-b_c.d",
        "a:b@c",
    ],
)
async def test_a_key_reaches_the_origin_as_it_is(
    upstream: S3Upstream, runpod: RunPodOrigin, key: str
) -> None:
    """The double verifies the signature over the path as it came."""
    runpod.put(key, b"this one")
    found, body = await upstream.get(ObjectKey("volume", key), None)
    assert isinstance(found, Found)
    assert await read(body) == b"this one"
    assert runpod.requests[0].key == key


async def test_without_keys_requests_are_not_signed(runpod: RunPodOrigin) -> None:
    settings = runpod.settings | {"access_key": "", "secret_key": ""}
    upstream = S3Upstream(Origin(**settings), QUICK, clock=time.time)
    with pytest.raises(UpstreamDenied):
        await upstream.get(KEY, None)
    assert runpod.requests[0].header("authorization") is None
    await upstream.close()


async def test_not_modified_is_for_conditional_requests_only(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    etag = f'"{runpod.objects[KEY.key].etag}"'
    found, body = await upstream.get(KEY, START, if_none_match=etag)
    assert isinstance(found, NotModified)
    assert await body.read() == b""
    body.close()
    with pytest.raises(VersionChanged):
        await upstream.get(KEY, START, if_match='"other"')


# What errors mean


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (Error(404, "NoSuchKey"), NotFound),
        (Error(400, "InvalidArgument", "object not found"), NotFound),
        (Error(400, "InvalidArgument", "bad"), UpstreamError),
        (Error(404, "NoSuchBucket"), UpstreamError),
        (Error(403, "AccessDenied"), UpstreamDenied),
        (Error(403, "RequestTimeTooSkewed"), UpstreamDenied),
        (Error(401, ""), UpstreamDenied),
        (Error(416, "InvalidRange"), RangeNotSatisfiable),
        (Error(412, "PreconditionFailed"), VersionChanged),
        (Error(429, "SlowDown"), UpstreamBusy),
        (Error(503, "SlowDown"), UpstreamBusy),
        (Error(500), UpstreamError),
        (Error(502), UpstreamError),
        (Error(524), UpstreamTimeout),
        (Redirect("http://169.254.169.254/latest/meta-data"), UpstreamError),
        (Redirect("/", 301), UpstreamError),
        (Redirect("/", 302), UpstreamError),
    ],
)
async def test_errors(
    upstream: S3Upstream, runpod: RunPodOrigin, action: Action, error: type[EdgecacheError]
) -> None:
    runpod.fault(action)
    with pytest.raises(EdgecacheError) as caught:
        await upstream.get(KEY, START)
    assert type(caught.value) is error
    assert "StringToSign" not in str(caught.value) + caught.value.hint
    assert len(runpod.requests) == 1


async def test_an_error_document_that_comes_in_pieces_is_read_whole(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    gate = Hold(runpod.hold("no such key"), after=100)
    runpod.fault(Error(400, "InvalidArgument", "object not found"), gate)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(failure_of(upstream))
        await gate.gate.reached.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        gate.gate.release()
    assert isinstance(await asking, NotFound)


async def failure_of(upstream: S3Upstream) -> BaseException | None:
    with pytest.raises(EdgecacheError) as caught:
        await upstream.get(KEY, START)
    return caught.value


@pytest.mark.parametrize("action", [Cut(10), Stall(10), Reset(10)])
async def test_a_status_counts_though_its_document_does_not_come(
    upstream: S3Upstream, runpod: RunPodOrigin, action: Action
) -> None:
    runpod.fault(Error(404, "NoSuchKey"), action)
    assert isinstance(await failure_of(upstream), NotFound)


async def test_an_endless_error_document_is_not_read(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    runpod.fault(Error(500, message="x" * 50_000_000))
    assert isinstance(await failure_of(upstream), UpstreamError)
    await runpod.settled()
    assert runpod.body_bytes < 50_000_000


# Every wait ends


@pytest.mark.parametrize("action", [Stall(), Before(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)])
async def test_an_origin_that_does_not_begin_is_given_up(
    upstream: S3Upstream, runpod: RunPodOrigin, action: Action
) -> None:
    runpod.fault(action, Stall())
    assert isinstance(await failure_of(upstream), UpstreamTimeout)
    await runpod.settled()


@pytest.mark.parametrize(
    ("action", "error"),
    [(Stall(10), UpstreamTimeout), (Cut(10), UpstreamError), (Reset(10), UpstreamError)],
)
@pytest.mark.parametrize("framing", Framing)
async def test_an_origin_that_stops_in_the_middle_is_an_error(
    upstream: S3Upstream,
    runpod: RunPodOrigin,
    action: Action,
    error: type[UpstreamError],
    framing: Framing,
) -> None:
    runpod.fault(Framed(framing), action)
    _, body = await get(upstream, START)
    assert await body.read() == DATA.read(0, 10)
    with pytest.raises(EdgecacheError) as caught:
        await body.read()
    assert type(caught.value) is error
    body.close()
    await runpod.settled()


async def test_an_origin_that_drips_is_given_up(upstream: S3Upstream, runpod: RunPodOrigin) -> None:
    """A byte each now and then is progress for no timer but one that counts them."""
    runpod.quirks.bandwidth = 2000  # in pieces of 100 bytes: a second for what must come in 0.2
    _, body = await get(upstream, START)
    with pytest.raises(UpstreamTimeout):
        await read(body)
    body.close()


async def test_a_slow_reader_is_no_slow_origin(
    upstream: S3Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time between two reads is the reader's."""
    _, body = await get(upstream)
    loop = asyncio.get_running_loop()
    late = iter(range(0, 10**6, 60))
    monkeypatch.setattr(upstream_module, "PACE", 10**9)
    data = b""
    with patch.object(loop, "time", lambda: next(late) + time.monotonic()):
        pass  # reads are instant: each takes what is there
    while piece := await body.read():
        data += piece
    body.close()
    assert data == DATA.read()


async def test_a_connection_that_is_not_accepted_is_a_timeout(runpod: RunPodOrigin) -> None:
    """U28: the SYN is swallowed. Here the listener's queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queued = [socket.socket() for _ in range(4)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(address)
        settings = runpod.settings | {"endpoint": f"http://127.0.0.1:{address[1]}"}
        upstream = S3Upstream(Origin(**settings), QUICK, clock=time.time)
        assert isinstance(await failure_of(upstream), UpstreamTimeout)
        await upstream.close()
        for one in queued:
            one.close()


async def test_a_refused_connection_is_an_error_at_once(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    await runpod.refuse()
    assert type(await failure_of(upstream)) is UpstreamError
    await runpod.listen()
    _, body = await get(upstream)
    assert await read(body) == DATA.read()


# Connections


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
    upstream = S3Upstream(Origin(**runpod.settings), QUICK, clock=clock)
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(clock(), UTC)):
        found, body = await get(upstream, START)
    assert (found.meta.request_time, found.meta.response_time) == (clock(), clock())
    body.close()
    await upstream.close()
