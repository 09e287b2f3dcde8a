"""Methods, CORS and honest status codes, RFC 9110 §9 and §15, through a socket."""

import json

import pytest

from tests import serving
from tests.faults import BEFORE_HEAD, Cut, Error, Fields, Raw, Redirect, Reset, Stall
from tests.serving import Serve, Site

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.png"
KEY = "outputs/a.png"
DATA = b"0123456789" * 20_000
ALLOW = "GET, HEAD, OPTIONS"
assert BEFORE_HEAD < 0


@pytest.fixture
async def stored(site: Site) -> Site:
    site.origin.put(KEY, DATA)
    return site


# Methods


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "PURGE", "M-SEARCH", "LOCK"]
)
async def test_other_methods_are_405(stored: Site, method: str) -> None:
    await stored.get(PATH)
    await stored.idle()
    stored.origin.reset()
    reply = await stored.request(method, PATH)
    assert (reply.status, reply.headers["Allow"]) == (405, ALLOW)
    assert stored.origin.requests == []
    # cache-tests invalidate-*-failed: a refused method invalidates nothing
    assert (await stored.get(PATH)).cache_status.startswith("edgecache; hit")


@pytest.mark.parametrize("target", ["/", "/none", "/models/secret.bin", "/outputs/../x"])
async def test_405_whatever_the_target(site: Site, target: str) -> None:
    assert (await site.request("DELETE", target)).status == 405


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_head_is_a_get_without_its_body(stored: Site, warm: bool) -> None:
    if warm:
        await stored.get(PATH)
        stored.origin.reset()
    head = await stored.head(PATH)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(DATA)))
    assert [request.method for request in stored.origin.requests] == ([] if warm else ["GET"])
    assert stored.origin.body_bytes <= 1  # HEAD upstream is unreliable
    get = await stored.get(PATH)
    varying = {"Cache-Status", "Age"}
    assert {n: v for n, v in head.headers.items() if n not in varying} == {
        n: v for n, v in get.headers.items() if n not in varying
    }


async def test_head_works_where_the_origin_forbids_it(stored: Site) -> None:
    stored.origin.quirks.head_forbidden = True
    assert (await stored.head(PATH)).status == 200


async def test_head_keeps_the_connection_in_step(stored: Site) -> None:
    async with stored.connect() as wire:
        await wire.send(serving.request_bytes("HEAD", PATH))
        assert (await wire.reply("HEAD")).status == 200
        await wire.send(serving.request_bytes("HEAD", "/outputs/none.png"))
        assert (await wire.reply("HEAD")).status == 404
        await wire.send(serving.request_bytes("GET", PATH, {"Range": "bytes=0-3"}))
        assert (await wire.reply()).body == b"0123"


async def test_options_names_the_methods(site: Site) -> None:
    for target in (PATH, "*", "/"):
        reply = await site.request("OPTIONS", target)
        assert (reply.status, reply.headers["Allow"]) == (204, ALLOW)
    assert site.origin.requests == []


# CORS (the Fetch standard)


EXPOSED = {"Content-Range", "Content-Length", "Accept-Ranges", "ETag", "Cache-Status", "Age"}
PREFLIGHT = {
    "Origin": "https://app.example.com",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "range,if-range",
}


async def test_a_simple_request_of_any_origin(stored: Site) -> None:
    for headers in ({}, {"Origin": "https://app.example.com"}):
        for target, status in ((PATH, 200), ("/outputs/none.png", 404), ("/models/x", 403)):
            reply = await stored.get(target, headers)
            assert reply.status == status
            assert reply.headers.getall("Access-Control-Allow-Origin") == ["*"]
            exposed = reply.headers["Access-Control-Expose-Headers"].split(", ")
            assert set(exposed) >= EXPOSED
            assert "Access-Control-Allow-Credentials" not in reply.headers


async def test_a_preflight(site: Site) -> None:
    reply = await site.request("OPTIONS", PATH, PREFLIGHT)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert reply.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    allowed = reply.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Range", "If-Range", "If-None-Match"} <= set(allowed)
    assert reply.headers["Access-Control-Max-Age"] == "86400"
    assert site.origin.requests == []


async def test_cors_with_an_allow_list(serve: Serve) -> None:
    async with serve(cors={"allow_origins": ["https://app.example.com"]}) as site:
        site.origin.put(KEY, DATA)
        allowed = await site.get(PATH, {"Origin": "https://app.example.com"})
        other = await site.get(PATH, {"Origin": "https://evil.example"})
        none = await site.get(PATH)
        preflight = await site.request("OPTIONS", PATH, PREFLIGHT)
        refused = await site.request("OPTIONS", PATH, PREFLIGHT | {"Origin": "https://evil"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    for reply in (other, none, refused):
        assert "Access-Control-Allow-Origin" not in reply.headers
    for reply in (allowed, other, none):  # or a cache gives one origin's answer to the next
        assert "Origin" in reply.headers["Vary"]
    assert [reply.status for reply in (allowed, other, none)] == [200, 200, 200]
    assert (preflight.status, refused.status) == (204, 204)


async def test_no_cors_when_nobody_is_allowed(serve: Serve) -> None:
    async with serve(cors={"allow_origins": []}) as site:
        site.origin.put(KEY, DATA)
        for method in ("GET", "OPTIONS"):
            reply = await site.request(method, PATH, PREFLIGHT)
            assert not [name for name in reply.headers if name.startswith("Access-Control")]


# Status codes say whose fault it is (the issue, "Status codes are honest")


@pytest.mark.parametrize(
    ("actions", "status", "retry"),
    [
        pytest.param([Error(404, "NoSuchKey")], 404, False, id="missing"),
        pytest.param(
            [Error(400, "InvalidArgument", "object not found")], 404, False, id="runpod's-missing"
        ),
        pytest.param([Error(404, "NoSuchBucket")], 502, False, id="no-bucket"),
        pytest.param([Error(403, "AccessDenied")], 502, False, id="denied"),
        pytest.param([Error(403, "SignatureDoesNotMatch")], 502, False, id="signature"),
        pytest.param([Error(401, "AccessDenied")], 502, False, id="unauthorised"),
        pytest.param([Error(400, "InvalidArgument", "other")], 502, False, id="other-400"),
        pytest.param([Error(405, "MethodNotAllowed")], 502, False, id="405"),
        pytest.param([Error(500)], 502, False, id="500"),
        pytest.param([Error(502)], 502, False, id="502"),
        pytest.param([Error(503, "SlowDown")], 503, True, id="slow-down"),
        pytest.param([Error(429)], 503, True, id="429"),
        pytest.param([Error(504)], 504, False, id="504"),
        pytest.param([Error(524)], 504, False, id="cloudflare's-524"),
        pytest.param([Error(522)], 504, False, id="cloudflare's-522"),
        pytest.param([Redirect("http://169.254.169.254/")], 502, False, id="redirect"),
        pytest.param([Raw(b"garbage\r\n\r\n")], 502, False, id="garbage"),
        pytest.param([Raw(b"")], 502, False, id="closed"),
        pytest.param([Reset()], 502, False, id="reset"),
        pytest.param([Stall()], 504, False, id="silent"),
        pytest.param([Cut(0)], 502, False, id="cut-before-the-first-byte"),
        pytest.param([Stall(0)], 504, False, id="stalled-before-the-first-byte"),
        pytest.param([Fields({"Content-Range": None})], 502, False, id="no-content-range"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_failing_origin(
    serve: Serve, actions: list[object], status: int, retry: bool, method: str
) -> None:
    patience = 0.05 if isinstance(actions[0], Stall) else 10
    async with serve(fetch={"first_byte_timeout": patience, "stall_timeout": patience}) as site:
        site.origin.put(KEY, DATA)
        site.origin.fault(*actions, times=None)  # type: ignore[arg-type]
        reply = await site.request(method, PATH)
        if method == "HEAD" and isinstance(actions[0], Cut | Stall) and actions[0].after == 0:
            assert reply.status in (200, status)  # no byte of the body was needed
            return
        assert reply.status == status
        assert ("Retry-After" in reply.headers) == retry
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.content_type == "text/plain; charset=utf-8"
        for word in (b"<", b"NoSuch", b"Sign", b"AWS4", b"169.254", site.origin.bucket.encode()):
            assert word not in reply.body  # never the origin's words
        site.origin.faults.clear()
        site.clock.advance(60)
        if patience > 1:
            assert (await site.get(PATH)).body == DATA  # and it heals


async def test_a_refused_connection_is_502(stored: Site) -> None:
    await stored.origin.refuse()
    assert (await stored.get(PATH)).status == 502
    await stored.origin.listen()
    assert (await stored.get(PATH)).body == DATA


async def test_a_refused_key_is_hinted_at_in_the_log(
    stored: Site, caplog: pytest.LogCaptureFixture
) -> None:
    stored.origin.secret_key = "rotated"
    reply = await stored.get(PATH)
    assert (reply.status, reply.body) == (502, b"the origin refused the request\n")
    (record,) = [one for one in caplog.records if one.name == "edgecache.delivery"]
    assert "SignatureDoesNotMatch: check secret_key and region" in record.getMessage()
    assert "rps_" not in caplog.text


# Error bodies: short, and in the form that the client asks for


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/html", "text/plain; charset=utf-8"),
        ("image/avif,image/webp,*/*;q=0.8", "text/plain; charset=utf-8"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
    ],
)
@pytest.mark.parametrize(
    ("target", "status"),
    [("/outputs/none.png", 404), ("/models/x", 403), ("/outputs/../x", 400)],
)
async def test_error_bodies(
    site: Site, target: str, status: int, accept: str | None, content_type: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    reply = await site.get(target, headers)
    assert (reply.status, reply.content_type) == (status, content_type)
    assert len(reply.body) < 200
    assert b"none.png" not in reply.body
    if content_type == "application/json":
        error = json.loads(reply.body)["error"]
        assert error["status"] == status
        assert error["message"]
    else:
        assert reply.body.endswith(b"\n")
        assert b"\n" not in reply.body[:-1]
    head = await site.head(target, headers)
    assert (head.status, head.body) == (status, b"")
    assert head.headers["Content-Length"] == str(len(reply.body))


async def test_a_refusal_does_not_tell_whether_the_key_exists(site: Site) -> None:
    site.origin.put("models/secret.bin", DATA)
    there, absent = [await site.get(f"/models/{name}") for name in ("secret.bin", "none.bin")]
    assert (there.status, there.body) == (absent.status, absent.body) == (403, absent.body)
    assert there.headers.keys() == absent.headers.keys()
    assert site.origin.requests == []
