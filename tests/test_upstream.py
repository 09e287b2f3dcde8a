"""The origin's wire: what is asked, what is not, and an end to every wait."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest

from edgecache import upstream as upstream_module
from edgecache.config import Origin
from edgecache.core.errors import (
    EdgecacheError,
    NotFound,
    RangeNotSatisfiable,
    Stopped,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.model import ByteSpan, ObjectKey
from edgecache.core.ranges import IntRange, RangeSpec, SuffixRange
from edgecache.core.reply import Found, NotModified
from edgecache.upstream import S3Upstream
from tests.asking import DATA, KEY, QUICK, START, failure_of, get, read
from tests.faults import (
    Action,
    Before,
    Cut,
    Error,
    Framed,
    Framing,
    Hold,
    Redirect,
    Reset,
    Stall,
)
from tests.runpod import RunPodOrigin


@pytest.fixture
async def upstream(runpod: RunPodOrigin) -> AsyncIterator[S3Upstream]:
    runpod.put(KEY.key, DATA)
    one = S3Upstream(Origin.model_validate(runpod.settings), QUICK, clock=time.time)
    yield one
    await one.close()


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
    runpod.quirks.ignore_conditionals = True
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
    upstream = S3Upstream(Origin.model_validate(settings), QUICK, clock=time.time)
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


async def test_an_answer_that_takes_too_long_is_given_up_however_steadily_it_comes(
    runpod: RunPodOrigin,
) -> None:
    runpod.put(KEY.key, DATA)
    runpod.quirks.bandwidth = 200_000
    fetch = QUICK.model_copy(update={"stall_timeout": 10, "total_timeout": 0.1})
    upstream = S3Upstream(Origin.model_validate(runpod.settings), fetch, clock=time.time)
    _, body = await get(upstream)
    with pytest.raises(UpstreamTimeout):
        await read(body)
    body.close()
    await upstream.close()


async def test_a_slow_reader_is_no_slow_origin(
    runpod: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time between two reads is the reader's, for what an answer may take as well."""
    monkeypatch.setattr(upstream_module, "PACE", 10**9)
    runpod.put(KEY.key, DATA)
    fetch = QUICK.model_copy(update={"stall_timeout": 5, "total_timeout": 5})
    upstream = S3Upstream(Origin.model_validate(runpod.settings), fetch, clock=time.time)
    jumps = count(step=60)
    passed = [0]
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + passed[0])
    _, body = await get(upstream)
    data = b""
    while piece := await body.read():
        data += piece
        passed[0] = next(jumps)
    body.close()
    await upstream.close()
    assert data == DATA.read()
    assert passed[0] > 0


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
        upstream = S3Upstream(Origin.model_validate(settings), QUICK, clock=time.time)
        assert isinstance(await failure_of(upstream), UpstreamTimeout)
        await upstream.close()
        for one in queued:
            one.close()


async def test_once_it_is_closed_it_asks_no_more_and_does_not_blame_the_origin(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    """Whoever still asks: under a config that was replaced long ago, say."""
    gate = runpod.hold(KEY.key)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(failure_of(upstream))
        await gate.reached.wait()
        await upstream.close()
    gate.release()
    assert type(asking.result()) is UpstreamError
    assert type(await failure_of(upstream)) is Stopped
    assert len(runpod.requests) == 1


async def test_a_refused_connection_is_an_error_at_once(
    upstream: S3Upstream, runpod: RunPodOrigin
) -> None:
    await runpod.refuse()
    assert type(await failure_of(upstream)) is UpstreamError
    await runpod.listen()
    _, body = await get(upstream)
    assert await read(body) == DATA.read()
