import pytest

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
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta
from edgecache.core.ranges import IntRange, RangeSpec, SuffixRange
from edgecache.core.reply import (
    DENIED_HINTS,
    Asked,
    Found,
    NotModified,
    carried,
    failure,
    identity,
    interpret,
    join_fields,
    kept_fields,
    s3_error,
    wanted,
)

KEY = ObjectKey("o", "a.png")
DATE, MODIFIED = "Tue, 14 Nov 2023 23:13:20 GMT", "Tue, 14 Nov 2023 22:13:20 GMT"


def asked(range_: RangeSpec | None = None, *, conditional: bool = False) -> Asked:
    return Asked(key=KEY, range=range_, conditional=conditional, request_time=5.0)


def test_join_fields() -> None:
    """RFC 9110 §5.3"""
    pairs = [("A", "1"), ("b", "2"), ("a", "3")]
    assert join_fields(pairs) == {"a": "1, 3", "b": "2"}


# A 200 or 206


def test_a_206() -> None:
    fields = [
        ("ETag", 'W/"v"'),
        ("Content-Range", "bytes 10-19/100"),
        ("Content-Length", "10"),
        ("Last-Modified", MODIFIED),
        ("Date", DATE.replace("GMT", "UTC")),
        ("Age", "3"),
        ("X-Own", "x"),
        ("Server", "cloudflare"),
    ]
    found = interpret(206, fields, asked(IntRange(10, 19)), response_time=6.0)
    assert found == Found(
        status=206,
        meta=ObjectMeta(
            key=KEY,
            etag='"v"',
            origin_etag='W/"v"',
            length=100,
            last_modified=1_700_000_000,
            date=1_700_003_600,
            request_time=5.0,
            response_time=6.0,
            headers=(("x-own", "x"), ("age", "3")),
        ),
        span=ByteSpan(10, 20),
        fields=join_fields(fields),
    )


def test_an_etag_that_is_none_is_not_sent_back() -> None:
    fields = [("ETag", '"a"b"'), ("Content-Length", "0")]
    found = interpret(200, fields, asked(), response_time=6.0)
    assert isinstance(found, Found)
    assert (found.meta.etag, found.meta.origin_etag) == ("", "")


@pytest.mark.parametrize(
    ("content_range", "length", "range_", "span"),
    [
        ("bytes 10-19/100", "10", IntRange(10, 19), (10, 20)),
        ("bytes 10-19/100", "", IntRange(10, 19), (10, 20)),  # chunked
        ("bytes 90-99/100", "10", IntRange(90, 199), (90, 100)),
        ("bytes 90-99/100", "10", IntRange(90, None), (90, 100)),
        ("bytes 95-99/100", "5", SuffixRange(5), (95, 100)),
        ("bytes 0-99/100", "100", SuffixRange(500), (0, 100)),
        ("Bytes 0-0/1", "1", IntRange(0, 0), (0, 1)),
    ],
)
def test_the_span_of_a_206(
    content_range: str, length: str, range_: RangeSpec, span: tuple[int, int]
) -> None:
    fields = {"content-range": content_range}
    if length:
        fields["content-length"] = length
    total = int(content_range.rpartition("/")[2])
    assert carried(206, fields, range_) == (ByteSpan(*span), total)


@pytest.mark.parametrize(
    ("content_range", "length", "range_"),
    [
        (None, "10", IntRange(10, 19)),  # U07, or multipart (U10)
        ("bytes 11-20/100", "10", IntRange(10, 19)),  # U06: shifted
        ("bytes 0-9/100", "10", IntRange(10, 19)),
        ("bytes 10-18/100", "9", IntRange(10, 19)),  # short
        ("bytes 10-20/100", "11", IntRange(10, 19)),
        ("bytes 10-19/*", "10", IntRange(10, 19)),  # U09
        ("bytes */100", "10", IntRange(10, 19)),
        ("bytes 10-19/15", "10", IntRange(10, 19)),  # U08: ends before its end
        ("bytes 19-10/100", "10", IntRange(10, 19)),
        ("bytes a-b/c", "10", IntRange(10, 19)),  # U11
        ("bytes -5-19/100", "10", IntRange(10, 19)),
        (f"bytes 10-19/{'9' * 40}", "10", IntRange(10, 19)),
        ("bytes 10-19/100", "9", IntRange(10, 19)),  # disagrees with Content-Length
        ("bytes 0-99/100", "100", None),  # nobody asked for a range
        ("bytes 0-4/100", "5", SuffixRange(5)),
    ],
)
def test_a_206_that_is_not_what_was_asked(
    content_range: str | None, length: str, range_: RangeSpec | None
) -> None:
    fields = {"content-length": length}
    if content_range is not None:
        fields["content-range"] = content_range
    with pytest.raises(UpstreamError):
        carried(206, fields, range_)


def test_a_200_to_a_range_is_everything() -> None:
    """U05"""
    assert carried(200, {"content-length": "100"}, IntRange(10, 19)) == (ByteSpan(0, 100), 100)


@pytest.mark.parametrize("length", [None, "", "-1", "1_0", "1, 1", "9" * 19, "\u0661", "0x1"])
def test_a_200_without_a_length(length: str | None) -> None:
    """U02: how would its end be told from a cut"""
    with pytest.raises(UpstreamError, match="no length"):
        carried(200, {} if length is None else {"content-length": length}, None)


@pytest.mark.parametrize("status", [100, 201, 204, 205, 226, 299, 300, 301, 302, 307, 308, 399])
def test_a_status_that_means_nothing_here(status: int) -> None:
    with pytest.raises(UpstreamError, match=str(status)):
        interpret(status, [("Content-Length", "0")], asked(conditional=True), response_time=6.0)


def test_a_bucket_in_another_region_is_told() -> None:
    raw = [("x-amz-bucket-region", "eu-west-1")]
    with pytest.raises(UpstreamError) as caught:
        interpret(301, raw, asked(), response_time=2.0)
    assert caught.value.hint == "check region: the bucket is in eu-west-1"


@pytest.mark.parametrize(
    ("said", "freshens"),
    [('"a"', True), ('W/"a"', True), ("", True), ('""', True), ('"b"', False), ('W/"b"', False)],
)
def test_what_a_304_is_about(said: str, freshens: bool) -> None:
    """RFC 9111 §4.3.4."""
    answer = NotModified({"etag": said} if said else {}, 0, 0)
    assert answer.freshens('"a"') is answer.freshens('W/"a"') is freshens


def test_a_304() -> None:
    found = interpret(304, [("A", "1")], asked(conditional=True), response_time=6.0)
    assert found == NotModified({"a": "1"}, 5.0, 6.0)
    with pytest.raises(UpstreamError, match="304"):  # U35: nobody asked
        interpret(304, [], asked(), response_time=6.0)


# Which version it is


@pytest.mark.parametrize(
    ("fields", "etag"),
    [
        ({"etag": '"v"'}, '"v"'),
        ({"etag": 'W/"v"'}, '"v"'),
        ({"etag": "v"}, '"v"'),
        ({"last-modified": MODIFIED, "date": DATE}, '"lm-6553f100-64"'),
        ({"etag": '""', "last-modified": MODIFIED, "date": DATE}, '"lm-6553f100-64"'),
        ({"etag": '"v"', "last-modified": MODIFIED, "date": DATE}, '"v"'),
        # RFC 9110 §8.8.2.2: too young, or of an unknown age
        ({"last-modified": MODIFIED, "date": "Tue, 14 Nov 2023 22:14:19 GMT"}, ""),
        ({"last-modified": MODIFIED, "date": "Tue, 14 Nov 2023 22:14:20 GMT"}, '"lm-6553f100-64"'),
        ({"last-modified": DATE, "date": MODIFIED}, ""),
        ({"last-modified": MODIFIED}, ""),
        ({"last-modified": "yesterday", "date": DATE}, ""),
        ({"date": DATE}, ""),
        ({}, ""),
    ],
)
def test_identity(fields: dict[str, str], etag: str) -> None:
    assert identity(fields, 100) == etag


def test_without_an_etag_the_length_is_part_of_the_identity() -> None:
    fields = {"last-modified": MODIFIED, "date": DATE}
    assert identity(fields, 100) != identity(fields, 101)


def test_kept_fields_have_the_first_age() -> None:
    raw = [("Age", "3"), ("X", "1"), ("age", "4"), ("ETag", '"v"')]
    assert kept_fields(raw) == (("x", "1"), ("age", "3"))


# Errors


def xml(code: str, message: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (xml("NoSuchKey", "not there"), ("NoSuchKey", "not there")),
        (b"", ("", "")),
        (b"<html>error code: 1010</html>", ("", "")),
        (b"\xff<Code>A</Code>\xff", ("A", "")),
        (xml("A<B"), ("", "")),
        (xml("A" * 65, "m" * 201), ("", "")),
        (b"<Code>a b</Code>", ("", "")),
    ],
)
def test_s3_error(body: bytes, error: tuple[str, str]) -> None:
    assert s3_error(body) == error


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, xml("NoSuchKey"), NotFound),
        (404, b"", NotFound),
        (400, xml("InvalidArgument", "object not found"), NotFound),
        (400, xml("InvalidArgument", "Object Not Found."), NotFound),
        (400, xml("InvalidArgument", "Invalid object path"), UpstreamError),
        (500, xml("InternalError", "object not found"), UpstreamError),
        (404, xml("NoSuchBucket"), UpstreamError),
        (401, b"", UpstreamDenied),
        (403, xml("AccessDenied"), UpstreamDenied),
        (403, b"error code: 1010", UpstreamDenied),
        (400, xml("ExpiredToken"), UpstreamDenied),
        (400, xml("AuthorizationHeaderMalformed"), UpstreamDenied),
        (412, b"", VersionChanged),
        (416, b"", RangeNotSatisfiable),
        (408, b"", UpstreamTimeout),
        (504, b"", UpstreamTimeout),
        (522, b"", UpstreamTimeout),
        (524, b"", UpstreamTimeout),
        (429, b"", UpstreamBusy),
        (503, xml("SlowDown"), UpstreamBusy),
        (405, b"", UpstreamError),
        (500, b"", UpstreamError),
        (502, b"", UpstreamError),
        (520, b"", UpstreamError),
    ],
)
def test_failure(status: int, body: bytes, kind: type[EdgecacheError]) -> None:
    error = failure(status, {}, body)
    assert type(error) is kind
    assert error.forward_status == status


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", "InternalError", "SlowDown"])
def test_the_origins_words_do_not_reach_a_client(code: str) -> None:
    for status in (400, 403, 404, 500, 503):
        error = failure(status, {}, xml(code, "StringToSign AWS4"))
        assert code not in error.message
        assert "AWS4" not in error.message + error.hint


@pytest.mark.parametrize("code", [code for code in DENIED_HINTS if code])
def test_a_refused_key_has_a_hint(code: str) -> None:
    hint = failure(403, {}, xml(code)).hint
    assert hint == f"origin status=403 code={code}: {DENIED_HINTS[code]}"
    assert failure(403, {}, b"").hint == f"origin status=403 code=-: {DENIED_HINTS['']}"
    assert DENIED_HINTS["AccessDenied"] in failure(403, {}, xml("Unheard")).hint


@pytest.mark.parametrize(
    ("value", "length"),
    [("bytes */100", 100), ("bytes */*", 0), ("", 0), ("bytes 0-1/5", 5), ("garbage", 0)],
)
def test_the_length_in_a_416(value: str, length: int) -> None:
    error = failure(416, {"content-range": value}, b"")
    assert isinstance(error, RangeNotSatisfiable)
    assert error.complete_length == length


@pytest.mark.parametrize(
    ("value", "seconds", "wish"),
    [
        ("5", 5, 5),
        ("0", 1, 0),
        ("9999", 120, 9999),
        ("99999", 1, 0),
        ("-5", 1, 0),
        ("soon", 1, 0),
        ("", 1, 0),
        ("1.5", 1, 0),
    ],
)
def test_retry_after(value: str, seconds: int, wish: int) -> None:
    """What a client is told, and what the origin said."""
    error = failure(503, {"retry-after": value}, b"")
    assert isinstance(error, UpstreamBusy)
    assert (error.retry_after, error.wish) == (seconds, wish)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (None, ""),
        (IntRange(0, 0), "bytes=0-0"),
        (IntRange(5, None), "bytes=5-"),
        (SuffixRange(5), "bytes=-5"),
    ],
)
def test_wanted(spec: RangeSpec | None, value: str) -> None:
    assert wanted(spec) == value
