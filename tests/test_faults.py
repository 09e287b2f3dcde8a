"""Each fault is what it says, on the wire: seen by a plain client or as raw bytes."""

import asyncio

import aiohttp
import pytest

from tests.faults import (
    Action,
    Bare,
    Before,
    ContentRange,
    Cut,
    Error,
    Extra,
    Fields,
    Framed,
    Framing,
    Multipart,
    Overwritten,
    Raw,
    Redirect,
    Reset,
    Shift,
    Stall,
)
from tests.pattern import Bytes, Pattern
from tests.s3client import SigningClient

KEY = "outputs/clip.mp4"
DATA = Pattern(10_000).read()
FIRST_10 = {"Range": "bytes=0-9"}


@pytest.fixture
def client(s3client: SigningClient) -> SigningClient:
    s3client.origin.put(KEY, DATA)
    return s3client


def body_of(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


# Which requests


async def test_a_fault_befalls_one_request_and_is_gone(client: SigningClient) -> None:
    client.origin.fault(Error(500))
    assert [(await client.send(KEY)).status for _ in range(2)] == [500, 200]
    assert client.origin.faults == []


async def test_the_third_and_fourth_request_of_a_prefix(client: SigningClient) -> None:
    client.origin.put("inputs/a", b"a")
    client.origin.fault(Error(503), key="outputs/", skip=2, times=2)
    assert [(await client.send(KEY)).status for _ in range(5)] == [200, 200, 503, 503, 200]
    client.origin.fault(Error(503), key="outputs/", times=None)
    assert (await client.send("inputs/a")).status == 200
    assert [(await client.send(KEY)).status for _ in range(9)] == [503] * 9


async def test_only_one_range(client: SigningClient) -> None:
    client.origin.fault(Error(503), range="bytes=10-19")
    ranges = ["bytes=0-9", "bytes=10-19", "bytes=10-19"]
    assert [(await client.send(KEY, {"Range": one})).status for one in ranges] == [206, 503, 206]


async def test_only_a_reused_connection(client: SigningClient) -> None:
    """The close at the moment of reuse, which asks for one silent retry."""
    client.origin.fault(Raw(b""), reused=True)
    assert (await client.send(KEY)).status == 200
    url, headers = client.sign(KEY, "POST")  # which aiohttp does not retry
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.session.post(url, headers=headers)
    assert client.origin.requests[-1].reused


# Gates


async def test_a_gate_before_the_head(client: SigningClient) -> None:
    gate = client.origin.hold(KEY)
    async with asyncio.TaskGroup() as group:
        got = group.create_task(client.send(KEY))
        await gate.reached.wait()
        assert (gate.waiting, client.origin.requests[0].sent, got.done()) == (1, 0, False)
        gate.release()
    assert got.result().body == DATA


async def test_a_gate_in_the_middle_of_a_body(client: SigningClient) -> None:
    gate = client.origin.hold(KEY, after=4321)
    async with client.open(KEY) as response:
        assert await response.content.readexactly(4321) == DATA[:4321]
        await gate.reached.wait()
        assert client.origin.requests[0].sent == 4321
        gate.release()
        assert await response.read() == DATA[4321:]


async def test_a_gate_after_the_head(client: SigningClient) -> None:
    gate = client.origin.hold(KEY, after=0)
    async with client.open(KEY) as response:
        assert response.status == 200
        assert client.origin.requests[0].sent == 0
        gate.release()
        assert await response.read() == DATA


async def test_a_gate_in_the_middle_of_another_fault(client: SigningClient) -> None:
    gate = client.origin.hold(KEY, after=100)
    client.origin.fault(Cut(after=200))
    async with client.open(KEY) as response:
        await gate.reached.wait()
        gate.release()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert client.origin.requests[0].sent == 200


async def test_a_released_gate_holds_nobody(client: SigningClient) -> None:
    client.origin.hold(times=None).release()
    assert (await client.send(KEY)).status == 200


@pytest.mark.parametrize("after", [None, 0, 100])
async def test_a_stall_lasts_until_the_client_leaves(
    client: SigningClient, after: int | None
) -> None:
    client.origin.fault(Stall(after))
    url, headers = client.sign(KEY, "GET")
    request = asyncio.get_running_loop().create_task(client.raw(KEY))
    await client.origin.until(lambda: client.origin.active == 1)
    await client.origin.until(lambda: client.origin.requests[0].sent == (after or 0))
    request.cancel()
    await client.origin.settled()
    assert client.origin.requests[0].aborted
    assert (await client.session.get(url, headers=headers)).status == 200


# Endings


@pytest.mark.parametrize("after", [0, 1, 9_999])
async def test_a_cut_body(client: SigningClient, after: int) -> None:
    client.origin.fault(Cut(after), times=2)
    raw = await client.raw(KEY)
    assert b"Content-Length: 10000\r\n" in raw
    assert body_of(raw) == DATA[:after]
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.send(KEY)
    assert not client.origin.requests[-1].aborted  # it was the origin's doing


async def test_a_cut_before_the_head(client: SigningClient) -> None:
    client.origin.fault(Cut())
    assert await client.raw(KEY) == b""


async def test_a_cut_beyond_the_end_cuts_nothing(client: SigningClient) -> None:
    client.origin.fault(Cut(after=10_001))
    assert (await client.send(KEY)).body == DATA


@pytest.mark.parametrize("after", [None, 100])
async def test_a_reset(client: SigningClient, after: int | None) -> None:
    client.origin.fault(Reset(after))
    with pytest.raises(ConnectionResetError):
        await client.raw(KEY)


async def test_no_length_and_cut(client: SigningClient) -> None:
    client.origin.fault(Framed(Framing.CLOSE), Cut(after=77))
    raw = await client.raw(KEY)
    assert b"content-length" not in raw.lower()
    assert body_of(raw) == DATA[:77]


async def test_a_body_that_ends_with_the_connection(client: SigningClient) -> None:
    client.origin.fault(Framed(Framing.CLOSE))
    assert (await client.send(KEY)).body == DATA


async def test_chunked(client: SigningClient) -> None:
    client.origin.fault(Framed(Framing.CHUNKED))
    got = await client.send(KEY)
    assert got.body == DATA
    assert got.headers["Transfer-Encoding"] == "chunked"
    assert client.origin.body_bytes == len(DATA)


async def test_chunked_without_the_last_chunk(client: SigningClient) -> None:
    client.origin.fault(Framed(Framing.CHUNKED), Cut(after=10_000))
    assert (await client.raw(KEY)).endswith(DATA[-100:] + b"\r\n")


async def test_extra_bytes_on_a_kept_connection(client: SigningClient) -> None:
    client.origin.fault(Extra(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    raw = await client.raw(KEY)
    assert body_of(raw).startswith(DATA + b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("data", [b"HTTP/9.9 two OK\r\n\r\n", b"\x16\x03\x01\x02", b""])
async def test_raw_bytes_in_place_of_an_answer(client: SigningClient, data: bytes) -> None:
    client.origin.fault(Raw(data))
    assert await client.raw(KEY) == data


async def test_a_thousand_times_100_continue(client: SigningClient) -> None:
    client.origin.fault(Before(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000))
    raw = await client.raw(KEY)
    assert raw.count(b"100 Continue") == 1000
    assert raw.endswith(DATA)


# Statuses and fields


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "RequestTimeTooSkewed"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (502, "BadGateway"),
        (503, "SlowDown"),
        (507, "QuotaExceeded"),
        (524, "Timeout"),
    ],
)
async def test_errors_are_talkative(client: SigningClient, status: int, code: str) -> None:
    client.origin.fault(Error(status, code, fields={"Retry-After": "7"}))
    got = await client.send(KEY, FIRST_10)
    assert (got.status, got.headers["Retry-After"]) == (status, "7")
    assert f"<Code>{code}</Code>".encode() in got.body
    assert b"<StringToSign>" in got.body
    assert "Content-Range" not in got.headers


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect(client: SigningClient, status: int) -> None:
    client.origin.fault(Redirect("http://169.254.169.254/latest", status))
    got = await client.send(KEY)
    assert (got.status, got.headers["Location"]) == (status, "http://169.254.169.254/latest")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_bare_status_nobody_asked_for(client: SigningClient, status: int) -> None:
    client.origin.fault(Bare(status), times=2)
    got = await client.send(KEY, FIRST_10)
    assert (got.status, got.body) == (status, b"")
    assert "ETag" in got.headers
    assert body_of(await client.raw(KEY)) == b""


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"Set-Cookie": "a=b"}, b"Set-Cookie: a=b"),
        ({"etag": '"x'}, b'etag: "x'),
        ({"ETag": '"' + "e" * 200 + '"'}, b'ETag: "' + b"e" * 200 + b'"'),
        ({"X-Bad": "a\0b\rc"}, b"X-Bad: a\0b\rc"),
        ({"X-Huge": "h" * 2**20}, b"X-Huge: " + b"h" * 2**20),
        ({"Content-Length": "-1"}, b"Content-Length: -1"),
        ({"Content-Encoding": "gzip"}, b"Content-Encoding: gzip"),
    ],
)
async def test_any_field(client: SigningClient, fields: dict[str, str], line: bytes) -> None:
    client.origin.fault(Fields(fields))
    head = (await client.raw(KEY)).partition(b"\r\n\r\n")[0]
    assert head.count(b"\r\n" + line) == 1
    name = line.partition(b":")[0].lower()
    assert head.lower().count(b"\r\n" + name + b":") == 1


async def test_a_field_that_is_missing(client: SigningClient) -> None:
    client.origin.fault(Fields({"ETag": None, "Last-Modified": None}))
    assert not {"ETag", "Last-Modified"} & set((await client.send(KEY)).headers)


# Ranges


@pytest.mark.parametrize(
    ("action", "content_range"),
    [
        (ContentRange(None), None),
        (ContentRange("bytes {first}-{last}/*"), "bytes 0-9/*"),
        (ContentRange("bytes {first}-{last}/5"), "bytes 0-9/5"),
        (ContentRange("bytes x-y/z"), "bytes x-y/z"),
        (ContentRange("bytes 0-9/" + "9" * 40), "bytes 0-9/" + "9" * 40),
        (ContentRange(lambda first, last, total: f"bytes {first + 1}-{last + 1}/{total}"),
         "bytes 1-10/10000"),
    ],
)  # fmt: skip
async def test_a_content_range_that_lies(
    client: SigningClient, action: Action, content_range: str | None
) -> None:
    client.origin.fault(action)
    got = await client.send(KEY, FIRST_10)
    assert (got.status, got.body) == (206, DATA[:10])
    assert got.headers.get("Content-Range") == content_range


@pytest.mark.parametrize(
    ("shift", "content_range", "start", "stop"),
    [
        (Shift(1, 1), "bytes 101-200/10000", 101, 201),
        (Shift(stop=-50), "bytes 100-149/10000", 100, 150),
        (Shift(stop=+50), "bytes 100-249/10000", 100, 250),
        (Shift(start=-500), "bytes 0-199/10000", 0, 200),
    ],
)
async def test_another_range_than_asked(
    client: SigningClient, shift: Shift, content_range: str, start: int, stop: int
) -> None:
    client.origin.fault(shift)
    got = await client.send(KEY, {"Range": "bytes=100-199"})
    assert (got.headers["Content-Range"], got.body) == (content_range, DATA[start:stop])


async def test_multipart_for_one_range(client: SigningClient) -> None:
    client.origin.fault(Multipart("xyz"))
    got = await client.send(KEY, FIRST_10)
    assert got.status == 206
    assert got.headers["Content-Type"] == "multipart/byteranges; boundary=xyz"
    assert "Content-Range" not in got.headers
    assert b"Content-Range: bytes 0-9/10000\r\n\r\n" + DATA[:10] + b"\r\n--xyz--\r\n" in got.body


async def test_a_file_overwritten_while_it_is_read(client: SigningClient) -> None:
    client.origin.fault(Overwritten(50, Bytes(bytes(10_000))))
    got = await client.send(KEY, {"Range": "bytes=100-199"})
    assert got.body == DATA[100:150] + bytes(50)


# Versions


async def test_a_version_changes_between_requests(client: SigningClient) -> None:
    client.origin.change_after(KEY, 2, b"second")
    client.origin.change_after(KEY, 1, None)
    got = [await client.send(KEY) for _ in range(4)]
    assert [one.body for one in got[:3]] == [DATA, DATA, b"second"]
    assert len({one.headers["ETag"] for one in got[:3]}) == 2
    assert len({one.headers["Last-Modified"] for one in got[:3]}) == 2
    assert got[3].status == 404


async def test_a_changed_version_may_keep_its_etag(client: SigningClient) -> None:
    client.origin.put(KEY, DATA, etag='"same"')
    client.origin.change_after(KEY, 0, b"other", etag="same")
    got = await client.send(KEY)
    assert (got.body, got.headers["ETag"]) == (b"other", '"same"')
