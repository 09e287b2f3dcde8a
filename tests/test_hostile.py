"""What is not HTTP, or is meant to do harm, byte by byte: RFC 9112, and "a good request
right after each bad one". Each case is refused, nothing of it reaches the origin, and what the logs
say of it is bounded and harmless."""

import logging
import re

import pytest

from tests import serving
from tests.serving import Serve, Site, parse_replies

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.png"
DATA = b"0123456789"
GET = b"GET /outputs/a.png HTTP/1.1\r\n"
HEAD = GET + b"Host: e\r\n"
HOST = b"Host: e\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LONGEST_RECORD = 4096


def case(name: str, data: bytes, status: int = 400) -> object:
    return pytest.param(data, status, id=name)


REQUEST_LINES = [
    case("method-with-a-separator", b"G@T /outputs/a.png HTTP/1.1\r\n" + HOST),
    case("method-in-lower-case", b"get /outputs/a.png HTTP/1.1\r\n" + HOST),
    case("method-nobody-knows", b"FOO /outputs/a.png HTTP/1.1\r\n" + HOST),
    case("method-of-70000-bytes", b"A" * 70_000 + b" /outputs/a.png HTTP/1.1\r\n" + HOST),
    case("space-before", b" " + GET + HOST),
    case("tabs-between", b"GET\t/outputs/a.png\tHTTP/1.1\r\n" + HOST),
    case("space-inside-the-target", b"GET /outputs/a b.png HTTP/1.1\r\n" + HOST),
    case("no-target", b"GET HTTP/1.1\r\n" + HOST),
    case("no-version", b"GET /outputs/a.png \r\n" + HOST),
    case("version-1.2", b"GET /outputs/a.png HTTP/1.2\r\n" + HOST),
    case("version-1.10", b"GET /outputs/a.png HTTP/1.10\r\n" + HOST),
    case("version-9.9", b"GET /outputs/a.png HTTP/9.9\r\n" + HOST),
    case("version-in-lower-case", b"GET /outputs/a.png http/1.1\r\n" + HOST),
    case("another-protocol", b"GET /outputs/a.png HTTQ/1.1\r\n" + HOST),
    case("http/2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    case("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(50))),
    case("zeros", b"\0" * 1000),
    case("line-of-9000-bytes", b"GET /outputs/" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST),
    case("line-without-end", b"GET /outputs/" + b"a" * 2_000_000),
    case("control-character", b"GET /outputs/a\x01.png HTTP/1.1\r\n" + HOST),
    case("nul", b"GET /outputs/a\0.png HTTP/1.1\r\n" + HOST),
    case("del", b"GET /outputs/a\x7f.png HTTP/1.1\r\n" + HOST),
    case("utf-8-not-escaped", "GET /outputs/é.png HTTP/1.1\r\n".encode() + HOST),
]
TARGETS = [
    case("absolute-form", b"GET http://e/outputs/a.png HTTP/1.1\r\n" + HOST),
    case("absolute-form-ssrf", b"GET http://169.254.169.254/latest HTTP/1.1\r\n" + HOST),
    case("absolute-form-file", b"GET file:///etc/passwd HTTP/1.1\r\n" + HOST),
    case("authority-form", b"GET e:80 HTTP/1.1\r\n" + HOST),
    case("asterisk-form", b"GET * HTTP/1.1\r\n" + HOST),
    case("no-slash", b"GET outputs/a.png HTTP/1.1\r\n" + HOST),
    case("two-slashes", b"GET //outputs/a.png HTTP/1.1\r\n" + HOST),
    case("fragment", b"GET /outputs/a.png#x HTTP/1.1\r\n" + HOST),
    case("dot-segments", b"GET /outputs/../../etc/passwd HTTP/1.1\r\n" + HOST),
    case("escaped-nul", b"GET /outputs/a%00.png HTTP/1.1\r\n" + HOST),
    case("escaped-crlf", b"GET /outputs/a%0d%0aX:y HTTP/1.1\r\n" + HOST),
    case("overlong-utf-8", b"GET /outputs/%c0%ae%c0%ae/x HTTP/1.1\r\n" + HOST),
    case("connect", b"CONNECT e:443 HTTP/1.1\r\n" + HOST, 405),
    case("connect-then-garbage", b"CONNECT e:443 HTTP/1.1\r\n" + HOST + b"\x16\x03\x01", 405),
]
FIELDS = [
    case("no-host", GET + b"\r\n"),
    case("no-host-for-options", b"OPTIONS * HTTP/1.1\r\n\r\n"),
    case("two-hosts", GET + b"Host: a\r\nHost: b\r\n\r\n"),
    case("two-equal-hosts", GET + b"Host: a\r\nHost: a\r\n\r\n"),
    case("host-with-a-space", GET + b"Host: a b\r\n\r\n"),
    case("host-with-a-path", GET + b"Host: a/b\r\n\r\n"),
    case("host-with-userinfo", GET + b"Host: a@b\r\n\r\n"),
    case("host-with-a-long-port", GET + b"Host: a:99999999\r\n\r\n"),
    case("host-list", GET + b"Host: a, b\r\n\r\n"),
    case("field-of-9000-bytes", HEAD + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    case("field-without-end", HEAD + b"X: " + b"a" * 2_000_000),
    case("name-of-9000-bytes", HEAD + b"X" * 9000 + b": a\r\n\r\n"),
    case("200-fields", HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n"),
    case("fields-without-end", HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(20_000))),
    case("nul-in-a-value", HEAD + b"X: a\0b\r\n\r\n"),
    case("control-character-in-a-value", HEAD + b"X: a\x01b\r\n\r\n"),
    case("escape-in-a-value", HEAD + b"User-Agent: a\x1b[31mb\r\n\r\n"),
    case("del-in-a-value", HEAD + b"X: a\x7fb\r\n\r\n"),
    case("space-before-the-colon", HEAD + b"X : a\r\n\r\n"),
    case("empty-name", HEAD + b": a\r\n\r\n"),
    case("nul-in-a-name", HEAD + b"X\0Y: a\r\n\r\n"),
    case("bracket-in-a-name", HEAD + b"X(: a\r\n\r\n"),
    case("utf-8-in-a-name", HEAD + b"X\xff: a\r\n\r\n"),
    case("no-colon", HEAD + b"garbage\r\n\r\n"),
    case("bare-cr", HEAD + b"X: a\rY: b\r\n\r\n"),
    case("only-cr", b"GET /outputs/a.png HTTP/1.1\rHost: e\r\r"),
    case("only-lf", b"GET /outputs/a.png HTTP/1.1\nHost: e\n\n"),
    case("bare-lf", HEAD + b"X: a\nY: b\r\n\r\n"),
    case("lf-at-the-end", HEAD + b"\n"),
    case("obs-fold", HEAD + b"X: a\r\n b\r\n\r\n"),
    case("obs-fold-at-first", GET + b" X: b\r\n" + HOST),
]
FRAMING = [
    case("te-and-cl", HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    case("cl-and-te", HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("te-unknown", HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    case("te-identity", HEAD + b"Transfer-Encoding: identity\r\n\r\n"),
    case("te-twice", HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    case("te-not-last", HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    case("te-vertical-tab", HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    case("te-space", HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    case("chunk-size-of-letters", CHUNKED + b"xyz\r\n\r\n"),
    case("chunk-size-negative", CHUNKED + b"-1\r\n\r\n"),
    case("chunk-size-underscore", CHUNKED + b"1_0\r\nx\r\n0\r\n\r\n"),
    case("chunk-size-0x", CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n"),
    case("chunk-size-overflow", CHUNKED + b"f" * 40 + b"\r\n\r\n"),
    case("chunk-with-lf", CHUNKED + b"1\nx\n0\n\n"),
    case("chunk-longer-than-it-says", CHUNKED + b"1\r\nxx0\r\n\r\n"),
    case("cl-negative", HEAD + b"Content-Length: -1\r\n\r\n"),
    case("cl-plus", HEAD + b"Content-Length: +1\r\n\r\na"),
    case("cl-hex", HEAD + b"Content-Length: 0x1\r\n\r\na"),
    case("cl-huge", HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\na"),
    case("cl-empty", HEAD + b"Content-Length:\r\n\r\n"),
    case("cl-list", HEAD + b"Content-Length: 1, 1\r\n\r\na"),
    case("cl-twice", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    case("cl-twice-the-same", HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
]


async def good_request_works(site: Site) -> None:
    reply = await site.get(PATH)
    assert (reply.status, reply.body) == (200, DATA)


def check_records(records: list[str]) -> None:
    """Something is said, on a line each, and nothing in it could move a terminal's cursor."""
    assert records
    for record in records:
        assert len(record) <= LONGEST_RECORD
        assert re.fullmatch(r"[\x20-\x7e]*", record), record


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not [record for record in caplog.records if record.exc_info]
    return [record.getMessage() for record in caplog.records]


async def first_answer(site: Site, data: bytes) -> bytes:
    async with site.connect() as wire:
        await wire.send_all(data)
        try:
            return await wire.reader.readuntil(b"\r\n\r\n")
        except (EOFError, ConnectionError):
            return b""


@pytest.mark.parametrize(("data", "status"), [*REQUEST_LINES, *TARGETS, *FIELDS, *FRAMING])
async def test_it_is_refused(
    serve: Serve, caplog: pytest.LogCaptureFixture, data: bytes, status: int
) -> None:
    caplog.set_level(logging.INFO)
    async with serve() as site:
        site.origin.put("outputs/a.png", DATA)
        head = await first_answer(site, data)
        assert re.match(rb"HTTP/1\.[01] %d " % status, head), head
        assert site.origin.requests == []
        await good_request_works(site)
    *records, _ = site.access_log()  # the last one is the good request's
    check_records(records + logged(caplog))


@pytest.mark.parametrize(("data", "status"), [*REQUEST_LINES, *FIELDS, *FRAMING])
async def test_nothing_is_read_behind_it(serve: Serve, data: bytes, status: int) -> None:
    """A request that was not understood may hide the beginning of another: smuggling."""
    async with serve(listen={"keepalive_timeout": 0.2}) as site:
        site.origin.put("outputs/a.png", DATA)
        answer = await site.send(data + b"\r\n\r\n" + GET + b"Connection: close\r\n" + HOST)
        replies = parse_replies(answer)
        assert [reply.status for reply in replies[:1]] == [status]
        assert all(400 <= reply.status < 500 for reply in replies) or b"Host: a" in data
        await good_request_works(site)


@pytest.mark.parametrize(
    "line", [b"GET /outputs/a.png", b"GET /outputs/a.png HTTP/0.9", b"GET /outputs/a.png HTTP/2.0"]
)
async def test_other_versions_of_http(site: Site, line: bytes) -> None:
    site.origin.put("outputs/a.png", DATA)
    head = await first_answer(site, line + b"\r\n" + HOST)
    assert re.match(rb"HTTP/1\.[01] (400|505) ", head), head
    assert site.origin.requests == []


# What is odd and still right


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\n\r\n" + GET + HOST, id="empty-lines-before"),  # RFC 9112 §2.2
        pytest.param(GET + b"Host:\r\n\r\n", id="empty-host"),
        pytest.param(GET + b"Host: [::1]:8080\r\n\r\n", id="ipv6-host"),
        pytest.param(GET + b"hOsT:e\r\n\r\n", id="no-space-after-the-colon"),
        pytest.param(b"GET /outputs/a.png HTTP/1.0\r\n\r\n", id="http-1.0"),
        pytest.param(HEAD + b"X: caf\xe9\r\n\r\n", id="latin-1-in-a-value"),
        pytest.param(HEAD + b"X:\r\n\r\n", id="empty-value"),
        pytest.param(HEAD + b"Cookie: " + b"a" * 8000 + b"\r\n\r\n", id="long-cookie"),
        pytest.param(
            b"GET /outputs/a.png?" + b"a" * 7000 + b" HTTP/1.1\r\n" + HOST, id="long-query"
        ),
        pytest.param(HEAD + b"Expect: 100-continue\r\n\r\n", id="expect"),
        pytest.param(HEAD + b"Expect: something-else\r\n\r\n", id="expect-unknown"),
        pytest.param(
            HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
            id="h2c",
        ),
        pytest.param(
            HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            id="websocket",
        ),
    ],
)
async def test_it_is_served(site: Site, data: bytes) -> None:
    site.origin.put("outputs/a.png", DATA)
    async with site.connect() as wire:
        await wire.send(data)
        reply = await wire.reply()
        assert (reply.status, reply.body) == (200, DATA)
        assert "Upgrade" not in reply.headers
    await good_request_works(site)


async def test_what_comes_behind_a_refused_upgrade_is_http(site: Site) -> None:
    """GHSA-mfx4-hv73-q22v: the bytes after it are not passed on as another protocol's."""
    site.origin.put("outputs/a.png", DATA)
    upgrade = HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    replies = parse_replies(await site.send(upgrade + GET + b"Connection: close\r\n" + HOST))
    assert [reply.body for reply in replies] == [DATA, DATA]


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    site.origin.put("outputs/a.png", DATA)
    data = b"".join(HEAD + b"Range: bytes=%d-%d\r\n\r\n" % (n, n) for n in range(10))
    replies = parse_replies(await site.send(data + GET + b"Connection: close\r\n" + HOST))
    assert [reply.body for reply in replies] == [*(b"%d" % n for n in range(10)), DATA]


async def test_garbage_behind_a_good_request_ends_the_connection(site: Site) -> None:
    site.origin.put("outputs/a.png", DATA)
    async with site.connect() as wire:
        await wire.send(HEAD + b"\r\n")
        assert (await wire.reply()).body == DATA
        await wire.send(b"\x00\x01garbage\r\n\r\n" + HEAD + b"\r\n")
        (reply,) = parse_replies(await wire.rest())
        assert reply.status == 400
    await good_request_works(site)


# Bodies, which have no meaning here


BODIES = [
    pytest.param(b"Content-Length: 3\r\n\r\nabc", id="content-length"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", id="chunked"),
    pytest.param(b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", id="not-gzip"),
    pytest.param(b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", id="expect"),
    pytest.param(
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 5000 + b"\r\nx\r\n0\r\n\r\n",
        id="long-extension",
    ),
]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE"])
@pytest.mark.parametrize("body", BODIES)
async def test_a_body_ends_the_connection(site: Site, method: bytes, body: bytes) -> None:
    site.origin.put("outputs/a.png", DATA)
    data = GET.replace(b"GET", method) + b"Host: e\r\n" + body
    smuggled = b"GET /outputs/smuggled.png HTTP/1.1\r\n" + HOST
    (reply,) = parse_replies(await site.send(data + smuggled), method.decode())
    expected = {b"GET": 200, b"HEAD": 200, b"OPTIONS": 204}.get(method, 405)
    assert (reply.status, reply.headers["Connection"]) == (expected, "close")
    for request in site.origin.requests:
        assert not {"content-length", "transfer-encoding", "expect"} & set(request.header_names)
        assert request.key == "outputs/a.png"
    await good_request_works(site)


async def test_a_body_that_never_comes(site: Site) -> None:
    site.origin.put("outputs/a.png", DATA)
    async with site.connect() as wire:
        await wire.send(HEAD + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        reply = await wire.reply()  # at once, and no 100 Continue before it
        assert (reply.status, reply.body) == (200, DATA)
        assert reply.headers["Connection"] == "close"
    await good_request_works(site)
