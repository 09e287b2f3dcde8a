import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.headers import stored_fields


@pytest.mark.parametrize(
    "name",
    [
        # cache-tests: headers-store-*
        "Test-Header",
        "X-Frame-Options",
        "Cache-Control",
        "CDN-Cache-Control",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Expires",
        "Link",
        "Repr-Digest",
        "Timing-Allow-Origin",
        "Vary",
        "X-AmzNot",
    ],
)
def test_end_to_end_fields_are_kept(name: str) -> None:
    assert stored_fields([(name, "value")]) == ((name.lower(), "value"),)


@pytest.mark.parametrize(
    "name",
    [
        # RFC 9110 §7.6.1, RFC 9111 §3.1
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        # the origin's host
        "Server",
        "Via",
        "Set-Cookie",
        "Set-Cookie2",
        "Strict-Transport-Security",
        "Public-Key-Pins",
        "Clear-Site-Data",
        "Alt-Svc",
        "NEL",
        "Report-To",
        "Reporting-Endpoints",
        "Expect-CT",
        "CF-RAY",
        "cf-cache-status",
        "X-Amz-Request-Id",
        "x-amz-id-2",
        "x-amz-meta-secret",
        "x-amzn-RequestId",
        # edgecache's own
        "ETag",
        "Last-Modified",
        "Date",
        "Age",
        "Content-Length",
        "Content-Range",
        "Accept-Ranges",
        "Cache-Status",
        "Content-Security-Policy",
        "Content-Security-Policy-Report-Only",
        "X-Content-Type-Options",
        "Cross-Origin-Resource-Policy",
        "Access-Control-Allow-Origin",
        "Access-Control-Allow-Credentials",
        # RFC 9530 §2, RFC 9111 §5.5: of one message
        "Content-Digest",
        "Content-MD5",
        "Warning",
    ],
)
def test_other_fields_are_dropped(name: str) -> None:
    assert stored_fields([(name, "value"), (name.upper(), "value")]) == ()


@pytest.mark.parametrize(
    ("fields", "stored"),
    [
        # cache-tests: headers-omit-headers-listed-in-Connection
        (
            [("a", "1"), ("Connection", "A, b"), ("B", "2"), ("c", "3")],
            (("c", "3"),),
        ),
        (
            [("X", "1"), ("Connection", "close"), ("connection", "\tx ,"), ("Y", "2")],
            (("y", "2"),),
        ),
        # order and repetition stay
        ([("B", "1"), ("a", "2"), ("b", "3")], (("b", "1"), ("a", "2"), ("b", "3"))),
        ([("a", " x\ty ")], (("a", "x\ty"),)),
        ([("a", "")], (("a", ""),)),
        # RFC 9110 §5.5: CTLs
        ([("a", "x\r\nSet-Cookie: y"), ("b", "ok")], (("b", "ok"),)),
        ([("a", "\x00")], ()),
        ([("a", "x\x7f")], ()),
        ([("a", "x\x1b[31m")], ()),
        ([("a", "x\n")], ()),
        # text beyond ASCII passes as long as it is text
        (
            [("content-disposition", 'inline; filename="ü.png"')],
            (("content-disposition", 'inline; filename="ü.png"'),),
        ),
        ([("a", "\udcfc")], ()),
        # RFC 9110 §5.1: names are tokens
        ([("a b", "x"), ("", "x"), ("ä", "x"), ("a\r\nb", "x"), ("a:", "x"), ("a\n", "x")], ()),
        ([], ()),
    ],
)
def test_stored_fields(fields: list[tuple[str, str]], stored: tuple[tuple[str, str], ...]) -> None:
    assert stored_fields(fields) == stored


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12))))
def test_what_is_stored_can_be_written_and_is_stored_as_it_is(
    fields: list[tuple[str, str]],
) -> None:
    stored = stored_fields(fields)
    assert stored_fields(stored) == stored
    assert not any(c in name + value for name, value in stored for c in "\r\n\0")
    json.dumps(stored, ensure_ascii=False).encode()


def test_fields_are_read_once() -> None:
    assert stored_fields(iter([("a", "1"), ("connection", "a"), ("b", "2")])) == (("b", "2"),)
