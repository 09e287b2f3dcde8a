"""What passes through in each direction and what edgecache says of itself: RFC 9110 §7.6, RFC 9111
§3.1, RFC 9211. Names are http-tests/cache-tests ids where they have one."""

import pytest

from tests import serving
from tests.faults import Fields
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.png"
KEY = "outputs/a.png"
DATA = b"0123456789"
LONG = Pattern(4 * SLICE, seed=3)
LONG_PATH, LONG_KEY = "/outputs/v.mp4", "outputs/v.mp4"

# Towards the origin: method, key and range, and nothing that a client said


SENT = {
    "host",
    "x-amz-date",
    "x-amz-content-sha256",
    "authorization",
    "accept-encoding",
    "user-agent",
    "range",
}
CLIENT_FIELDS = {
    "Accept": "image/webp",
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "de",
    "Authorization": "Bearer stolen",
    "Cache-Control": "no-cache",
    "Cookie": "session=1",
    "Forwarded": "for=1.2.3.4",
    "Origin": "https://app.example.com",
    "Referer": "https://app.example.com/?token=1",
    "Range": "bytes=2-3",
    "If-Range": '"x"',
    "If-Match": "*",
    "If-Unmodified-Since": "Thu, 01 Jan 2099 00:00:00 GMT",
    "User-Agent": "Mozilla/5.0",
    "Via": "1.1 proxy",
    "X-Amz-Acl": "public-read",
    "X-Amz-Security-Token": "x",
    "X-Amz-Date": "20000101T000000Z",
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Host": "evil.example",
    "X-HTTP-Method-Override": "DELETE",
    "X-Original-URL": "/models/secret.bin",
    "TE": "trailers",
}


async def test_nothing_of_a_client_goes_upstream(site: Site) -> None:
    site.origin.put(KEY, DATA)
    assert (await site.get(f"{PATH}?acl&x=1", CLIENT_FIELDS)).body == DATA
    (request,) = site.origin.requests
    assert set(request.header_names) == SENT
    assert request.signed == ("host", "x-amz-content-sha256", "x-amz-date")
    assert request.header("user-agent") == "edgecache"
    assert request.header("accept-encoding") == "identity"
    assert request.raw_path == f"/{site.origin.bucket}/{KEY}"
    for value in CLIENT_FIELDS.values():
        assert value not in dict(request.headers).values()


async def test_the_origins_own_validator_goes_back_as_it_came(site: Site) -> None:
    """conditional-etag-weak-generate-weak, conditional-etag-strong-generate-unquoted"""
    for name, etag in (("a", '"strong"'), ("b", 'W/"weak"'), ("c", "unquoted")):
        site.origin.put(f"outputs/{name}", DATA, headers={"ETag": etag})
        await site.get(f"/outputs/{name}")
        site.clock.advance(3600)
        site.origin.reset()
        await site.get(f"/outputs/{name}")
        assert site.origin.requests[0].header("if-none-match") == etag


# Towards the client


@pytest.mark.parametrize(
    "name",
    [
        "Content-Disposition",
        "Content-Language",
        "Content-Encoding",
        "Content-Location",
        "Link",
        "Test-Header",
        "X-Test-Header",
        "X-Frame-Options",
        "X-XSS-Protection",
        "X-Robots-Tag",
    ],
)
async def test_end_to_end_fields_are_stored_and_passed_on(site: Site, name: str) -> None:
    """headers-store-*"""
    site.origin.put(KEY, DATA, headers={name: "a value"})
    for _ in range(2):
        assert (await site.get(PATH)).headers.getall(name) == ["a value"]
    assert (await site.head(PATH)).headers[name] == "a value"


@pytest.mark.parametrize(
    "name",
    [
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Set-Cookie",
        "Set-Cookie2",
        "Via",
        "CF-RAY",
        "cf-cache-status",
        "x-amz-request-id",
        "x-amz-meta-secret",
        "Strict-Transport-Security",
        "Public-Key-Pins",
        "Clear-Site-Data",
        "NEL",
        "Report-To",
        "alt-svc",
        "Access-Control-Allow-Credentials",
        "CDN-Cache-Control",
        "Content-MD5",
        "Warning",
    ],
)
async def test_the_origins_private_fields_stop_here(site: Site, name: str) -> None:
    site.origin.put(KEY, DATA, headers={name: "foo"})
    for _ in range(2):
        reply = await site.get(PATH)
        assert reply.status == 200
        assert name not in reply.headers


async def test_cloudflare_and_s3_do_not_show(site: Site) -> None:
    site.origin.quirks.cloudflare_fields = True
    site.origin.put(KEY, DATA)
    for target in (PATH, "/outputs/none.png"):
        reply = await site.get(target)
        assert reply.headers.getall("Server") == ["edgecache"]
        for name in reply.headers:
            assert not name.lower().startswith(("cf-", "x-amz-", "set-cookie", "nel", "report"))


async def test_omit_headers_listed_in_connection(site: Site) -> None:
    """headers-omit-headers-listed-in-Connection"""
    fields = {"Connection": "a, b", "a": "1", "b": "2", "c": "3"}
    site.origin.put(KEY, DATA, headers=fields)
    for _ in range(2):
        reply = await site.get(PATH)
        assert reply.headers["c"] == "3"
        assert not {"a", "b"} & reply.headers.keys()


async def test_other_set_cookie(site: Site) -> None:
    """other-set-cookie, other-cookie: media for everyone is cached whatever the cookies."""
    site.origin.put(KEY, DATA, headers={"Set-Cookie": "a=b"})
    await site.get(PATH)
    await site.idle()
    reply = await site.get(PATH, {"Cookie": "a=b"})
    assert reply.cache_status.startswith("edgecache; hit")
    assert "Set-Cookie" not in reply.headers


async def test_a_field_with_bytes_that_are_no_text_is_dropped(site: Site) -> None:
    site.origin.put(KEY, DATA)
    site.origin.fault(Fields({"X-Bytes": "caf\xe9", "X-Fine": "tea"}))
    for _ in range(2):
        reply = await site.get(PATH)
        assert (reply.status, reply.headers["X-Fine"]) == (200, "tea")
        assert "X-Bytes" not in reply.headers


@pytest.mark.parametrize("action", ["CR", "LF", "NUL"])
async def test_a_field_with_a_control_character_is_no_answer(site: Site, action: str) -> None:
    """U31: response splitting by the origin."""
    character = {"CR": "\r", "LF": "\n", "NUL": "\0"}[action]
    site.origin.put(KEY, DATA)
    site.origin.fault(Fields({"X-A": f"a{character}Set-Cookie: x=y"}), times=None)
    reply = await site.get(PATH)
    assert reply.status in (200, 502)
    assert "Set-Cookie" not in reply.headers


# Every answer


def common_fields(reply: Reply) -> None:
    assert reply.headers.getall("X-Content-Type-Options") == ["nosniff"]
    assert reply.headers.getall("Server") == ["edgecache"]
    assert reply.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert len(reply.headers.getall("Date")) == 1
    assert reply.headers["Date"].endswith(" GMT")


async def test_what_every_answer_carries(site: Site) -> None:
    site.origin.put(KEY, DATA)
    etag = {"If-None-Match": "*"}
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=0-1,4-5"}, etag):
        reply = await site.get(PATH, headers)
        common_fields(reply)
        assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert reply.headers["Last-Modified"].endswith(" GMT")
        for name in ("ETag", "Age", "Cache-Status"):
            assert len(reply.headers.getall(name)) == 1
        assert reply.status == 304 or reply.headers["Accept-Ranges"] == "bytes"
    for target in ("/outputs/none.png", "/models/x", "/outputs//x"):
        common_fields(await site.get(target))


async def test_runpods_dates_are_mended(site: Site) -> None:
    site.origin.quirks.utc_dates = True
    site.origin.put(KEY, DATA, last_modified=1_700_000_000)
    reply = await site.get(PATH)
    assert reply.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert reply.headers["Date"] == "Sun, 15 Jun 2025 15:06:40 GMT"


@pytest.mark.parametrize(
    ("name", "origin_type", "content_type"),
    [
        ("a.png", None, "image/png"),
        ("a.webp", "application/octet-stream", "image/webp"),
        ("a.mp4", "", "video/mp4"),
        ("a.bin", None, "application/octet-stream"),
        ("noextension", None, "application/octet-stream"),
        ("a.png", "image/x-own", "image/x-own"),
        ("a.txt", "text/plain; charset=latin-1", "text/plain; charset=latin-1"),
    ],
)
async def test_content_type(
    site: Site, name: str, origin_type: str | None, content_type: str
) -> None:
    headers = {} if origin_type is None else {"Content-Type": origin_type}
    site.origin.put(f"outputs/{name}", DATA, headers=headers)
    assert (await site.get(f"/outputs/{name}")).headers.getall("Content-Type") == [content_type]


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xml", "a.xhtml", "A.HTM"])
async def test_active_content_is_sandboxed(site: Site, name: str) -> None:
    site.origin.put(f"outputs/{name}", DATA)
    reply = await site.get(f"/outputs/{name}")
    assert reply.headers["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.parametrize(
    ("settings", "origin", "expected"),
    [
        ({}, {}, "public, max-age=31536000, immutable"),
        ({"browser_ttl": "1h"}, {}, "public, max-age=3600"),
        ({"browser_ttl": 0}, {}, "no-cache"),
        ({"browser_ttl": "1h"}, {"Cache-Control": "max-age=5"}, "max-age=5"),
        ({}, {"Cache-Control": "no-store"}, "no-store"),
        ({}, {"Cache-Control": "private"}, "private"),
    ],
)
async def test_the_browsers_cache_control(
    serve: Serve, settings: dict[str, object], origin: dict[str, str], expected: str
) -> None:
    async with serve(routes=[{"path": "/", **settings}]) as site:
        site.origin.put(KEY, DATA, headers=origin)
        assert (await site.get(PATH)).headers.getall("Cache-Control") == [expected]
