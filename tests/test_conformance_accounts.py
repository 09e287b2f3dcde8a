"""What is written down of each request: access log, metrics, stats. They agree with the wire."""

import json
import re

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.waiting import PATIENCE

serve = serving.serve_exactly
site = serving.site

PATH, KEY = "/outputs/a.mp4", "outputs/a.mp4"
DATA = Pattern(2 * SLICE, seed=6)


async def test_a_line_in_the_access_log(serve: Serve) -> None:
    headers = {
        "Range": "bytes=10-19",
        "Referer": "https://app.example.com/gallery?token=secret",
        "User-Agent": "Mozilla/5.0 (X11)",
        "X-Request-Id": "abc-123",
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
    }
    async with serve() as site:
        site.origin.put(KEY, DATA)
        reply = await site.get(f"{PATH}?sig=secret", headers)
    (entry,) = site.access_entries()
    assert 0 < entry.pop("ttfb") <= entry.pop("duration") < PATIENCE
    assert entry == {
        "time": "2025-06-15T15:06:40.000Z",
        "client": "127.0.0.1",
        "method": "GET",
        "path": PATH,
        "status": 206,
        "bytes": 10,
        "range": "bytes=10-19",
        "cache_status": reply.cache_status,
        "result": "miss",
        "referer": "https://app.example.com/gallery",
        "user_agent": "Mozilla/5.0 (X11)",
        "request_id": "abc-123",
    }
    assert "secret" not in site.access_log()[0]


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        ("GET", PATH, {}, (200, 2 * SLICE, "hit")),
        ("HEAD", PATH, {}, (200, 0, "hit")),
        ("GET", PATH, {"If-None-Match": "*"}, (304, 0, "hit")),
        ("GET", PATH, {"Range": "bytes=999999-"}, (416, 0, "hit")),
        ("GET", "/outputs/none", {}, (404, None, "error")),
        ("GET", "/models/x", {}, (403, None, "error")),
        ("GET", "/outputs/..", {}, (400, None, "error")),
        ("POST", PATH, {}, (405, None, "error")),
        ("OPTIONS", PATH, {}, (204, 0, "bypass")),
    ],
)
async def test_every_answer_has_its_line(
    serve: Serve,
    method: str,
    target: str,
    headers: dict[str, str],
    expected: tuple[int, int | None, str],
) -> None:
    async with serve() as site:
        site.origin.put(KEY, DATA)
        await site.get(PATH)
        await site.idle()
        reply = await site.request(method, target, headers)
    status, size, result = expected
    first, second = site.access_entries()  # of several processes, in the order they end
    entry = second if first["result"] == "miss" else first
    found = (entry["method"], entry["path"], entry["status"], entry["bytes"], entry["result"])
    assert found == (method, target, status, len(reply.body) if size is None else size, result)
    assert entry["cache_status"] == reply.headers.get("Cache-Status", "")


async def test_the_combined_format(serve: Serve) -> None:
    async with serve(log={"access": "combined"}) as site:
        site.origin.put(KEY, DATA)
        await site.get(f"{PATH}?x=secret", {"User-Agent": 'a"b'})
    (line,) = site.access_log()
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[15/Jun/2025:15:06:40 \+0000\] "
        r'"GET /outputs/a\.mp4 HTTP/1\.1" 200 131072 "-" "a\\"b" "edgecache; fwd=uri-miss; .*"',
        line,
    )


async def test_no_access_log(serve: Serve) -> None:
    async with serve(log={"access": "off"}) as site:
        assert (await site.get(PATH)).status == 404
    assert not site.has_access_log()


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "x" * 8000},
        {"User-Agent": "caf\u00e9 \u2028 \U0001f3ac"},
        {"Referer": "https://x/\t\ttab"},
        {"X-Request-Id": "y" * 8000},
        {"Range": "bytes=" + "0-0," * 1500},
        {"Accept": "\u202e"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_a_line_is_one_short_line(serve: Serve, headers: dict[str, str]) -> None:
    async with serve() as site:
        site.origin.put(KEY, DATA)
        assert (await site.get(PATH + "?" + "q" * 4000, headers)).status == 200
    (line,) = site.access_log()
    assert len(line) < 4096
    assert re.fullmatch(r"[\x20-\x7e]+", line)
    json.loads(line)


# Metrics


async def test_bytes_saved_is_what_clients_got_and_the_origin_did_not_give(site: Site) -> None:
    site.origin.put(KEY, DATA)
    for _ in range(5):
        await site.get(PATH)
        await site.idle()
    given = await site.metric("client_body_bytes_total")
    bought = await site.metric("origin_body_bytes_total")
    assert (given, bought) == (5 * DATA.length, DATA.length)
    assert bought == site.origin.body_bytes
    from_cache = await site.metric("client_body_bytes_total", source="cache")
    assert 4 * DATA.length <= from_cache < given  # some of the first answer may be stored by then
    assert await site.metric("client_body_bytes_total", source="fill") == given - from_cache
    stats = json.loads((await site.admin("GET", "/api/stats")).body)
    assert stats["bytes"] == {
        "client": given,
        "origin": bought,
        "saved": given - bought,
        "wasted": 0,
    }
    assert stats["requests"] == {
        "hit": 4,
        "miss": 1,
        "partial": 0,
        "revalidated": 0,
        "stale": 0,
        "bypass": 0,
        "error": 0,
    }
    assert stats["hit_ratio"] == 0.8
    assert stats["cache"]["slices"] == 2


async def test_requests_are_counted_by_what_became_of_them(site: Site) -> None:
    site.origin.put(KEY, DATA)
    for method, target in (("GET", PATH), ("HEAD", PATH), ("GET", "/models/x"), ("BREW", PATH)):
        await site.send(serving.request_bytes(method, target, {"Connection": "close"}))
    for method in ("POST", "PUT", "PATCH"):
        await site.request(method, PATH)
    count = site.metric
    assert await count("http_requests_total", method="GET", code="200", route="/") == 1
    assert await count("http_requests_total", method="GET", code="403", route="-") == 1
    assert await count("http_requests_total", method="other", code="405") == 3
    assert await count("http_bad_requests_total") == 1
    assert await count("http_requests_in_flight") == 0
    assert await count("origin_requests_total", op="get", code_class="2xx") == len(
        site.origin.requests
    )


async def test_labels_hold_no_names_of_objects(site: Site) -> None:
    for n in range(20):
        site.origin.put(f"outputs/secret-{n}.mp4", DATA)
        await site.get(f"/outputs/secret-{n}.mp4")
        await site.get(f"/models/secret-{n}")
    text = (await site.admin("GET", "/metrics")).body.decode()
    assert "secret" not in text
    assert "outputs" not in text


async def test_routes_are_told_apart(serve: Serve) -> None:
    routes = [{"path": "/", "ttl": 60}, {"path": "/outputs/live/", "ttl": 1}]
    async with serve(routes=routes) as site:
        for key in (KEY, "outputs/live/a.mp4"):
            site.origin.put(key, DATA)
            for _ in range(2):
                assert (await site.get(f"/{key}")).status == 200
                await site.idle()
        site.clock.advance(2)
        assert (await site.get(PATH)).cache_status.startswith("edgecache; hit")
        live = await site.get("/outputs/live/a.mp4")
        assert live.cache_status.startswith("edgecache; fwd=stale")
        assert await site.metric("http_requests_total", route="/outputs/live/") == 3
        assert await site.metric("http_requests_total", route="/") == 3
