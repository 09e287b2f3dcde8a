"""What passes the relay passes as it is: requests up, answers down, in their order."""

from pathlib import Path

import pytest
from aiohttp import web

from edgecache.web.peer import Peer
from tests import relaying, serving
from tests.relaying import (
    CLOSE,
    Caller,
    RelayedServerApp,
    keeper_on,
    listen_on,
    reply,
    scripted,
    worker_on,
)
from tests.serving import (
    Serve,
    parse_replies,
)

serve = serving.serve
relayed = relaying.relayed
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATH = "/outputs/a.png"
CLIENT = Peer("1.2.3.4", "http", "id")


# Answers, as they were


def a_get(*lines: str, method: str = "GET", target: str = PATH, version: str = "1.1") -> bytes:
    head = [f"{method} {target} HTTP/{version}", "Host: e", *lines, "", ""]
    return "\r\n".join(head).encode()


REQUESTS = {
    "get": a_get(),
    "get-1.0": a_get(version="1.0"),
    "get-1.0-without-host": b"GET /outputs/a.png HTTP/1.0\r\n\r\n",
    "get-1.0-keep-alive": a_get("Connection: keep-alive", version="1.0"),
    "get-close": a_get("Connection: close"),
    "get-0.9": a_get(version="0.9"),
    "get-2.0": a_get(version="2.0"),
    "head": a_get(method="HEAD"),
    "206": a_get("Range: bytes=5-70000"),
    "206-suffix": a_get("Range: bytes=-3"),
    "multipart": a_get("Range: bytes=0-1,70000-70009,-3"),
    "416": a_get("Range: bytes=999999-"),
    "304": a_get("If-None-Match: *"),
    "304-head": a_get("If-None-Match: *", method="HEAD"),
    "412": a_get('If-Match: "other"'),
    "404": a_get(target="/outputs/none.png"),
    "404-head": a_get(target="/outputs/none.png", method="HEAD"),
    "404-json": a_get("Accept: application/json", target="/outputs/none.png"),
    "403": a_get(target="/secret"),
    "405": a_get("Content-Length: 0", method="POST"),
    "405-body": a_get("Content-Length: 4", method="POST") + b"body",
    "405-chunked": a_get("Transfer-Encoding: chunked", method="PUT") + b"4\r\nbody\r\n0\r\n\r\n",
    "chunked-nothing": a_get("Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "405-expect": a_get("Content-Length: 4", "Expect: 100-continue", method="POST") + b"body",
    "connect": b"CONNECT e:443 HTTP/1.1\r\nHost: e\r\n\r\n",
    "upgrade": a_get("Connection: upgrade", "Upgrade: websocket"),
    "preflight": a_get("Origin: https://x", "Access-Control-Request-Method: GET", method="OPTIONS"),
    "options": a_get(target="*", method="OPTIONS"),
    "bad-host": b"GET /outputs/a.png HTTP/1.1\r\nHost: a b\r\n\r\n",
    "no-host": b"GET /outputs/a.png HTTP/1.1\r\n\r\n",
    "named-by-connection": a_get("Connection: Host, Content-Length"),
    "two": a_get() + a_get("Range: bytes=1-2"),
}


@pytest.mark.usefixtures("relayed")
async def test_the_same_bytes_as_without_a_relay(serve: Serve) -> None:
    async with serve() as site:
        assert isinstance(site.server, RelayedServerApp)
        site.origin.put("outputs/a.png", bytes(range(256)) * 300)
        for target in (PATH, "/outputs/none.png"):
            await site.get(target)
        await site.idle()
        different = []
        for name, data in REQUESTS.items():
            answers = []
            for url in (site.server.direct, site.server.url):
                async with site.connect(url) as wire:
                    await wire.send_all(data + CLOSE)
                    answers.append(await wire.rest())
            if answers[0] != answers[1]:
                different.append((name, *answers))
        assert different == []


@pytest.mark.usefixtures("relayed")
async def test_a_miss_of_many_slices_comes_whole(serve: Serve) -> None:
    async with serve() as site:
        data = bytes(range(256)) * 8000
        site.origin.put("outputs/a.mp4", data)
        reply = await site.get("/outputs/a.mp4")
        assert (reply.status, reply.body) == (200, data)


@pytest.mark.usefixtures("relayed")
async def test_pipelined_requests_keep_their_order(serve: Serve) -> None:
    async with serve() as site:
        site.origin.put("outputs/a.png", bytes(range(200)))
        held = site.origin.hold("outputs/a.png")
        async with site.connect() as wire:
            await wire.send(b"".join(a_get(f"Range: bytes={n}-{n}") for n in range(50)) + CLOSE)
            await site.origin.arrived(1)
            held.release()
            replies = parse_replies(await wire.rest())
        assert [one.body for one in replies] == [*(bytes([n]) for n in range(50)), replies[-1].body]


# Requests, as they came


@pytest.mark.parametrize(
    "target",
    [
        b"//x",
        b"/a%2Fb%2f",
        b"/a#b?c",
        b"/a?b?c#d",
        b"http://other/x",
        b"*",
        b"/\xc3\xa9\xff\x80",
        b"/" + b"a" * 8000,
    ],
)
async def test_targets_arrive_exactly(tmp_path: Path, target: bytes) -> None:
    asked: list[bytes] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.raw_path.encode("utf-8", "surrogateescape"))
        return web.Response(text="x")

    method = b"OPTIONS " if target == b"*" else b"GET "
    data = method + target + b" HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n"
    with listen_on(tmp_path / "k") as listener:
        async with keeper_on(listener, handler), worker_on(tmp_path / "k") as worker:
            status = (await reply(worker, data)).status
    # What aiohttp refuses at the public port already is not for the keeper.
    assert asked == ([target] if status == 200 else [])
    assert status == 200 or not target.isascii()


async def test_fields_arrive_exactly_but_the_connections_own(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def script(caller: Caller) -> None:
        heads.append(await caller.head())
        await caller.send(OK)

    lines = [
        b"hOsT: e",
        b"X-Empty:",
        b"X-Bytes: a\xff\xc3\xa9  b",
        b"Cookie: a",
        b"cookie: b",
        b"CONNECTION: close, X-Mine,x-yours ,",
        b"Connection: host",
        b"X-Mine: gone",
        b"X-YOURS: gone",
        b"Keep-Alive: 5",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"Upgrade: h2c",
        b"Edgecache-Relay: 6.6.6.6 internal -",
        b"EDGECACHE-relay: 6.6.6.6 http -",
        b"X-Request-Id: a b",
    ]
    async with scripted(tmp_path / "k", script), worker_on(tmp_path / "k") as worker:
        await reply(worker, b"\r\n".join([b"GET /x HTTP/1.1", *lines, b"", b""]))
    (head,) = heads
    assert head.split(b"\r\n") == [
        b"GET /x HTTP/1.1",
        b"Edgecache-Relay: 127.0.0.1 http a%20b",
        b"hOsT: e",
        b"X-Empty: ",
        b"X-Bytes: a\xff\xc3\xa9  b",
        b"Cookie: a",
        b"cookie: b",
        b"X-Request-Id: a b",
        b"",
        b"",
    ]


@pytest.mark.usefixtures("relayed")
@pytest.mark.parametrize("name", ["Edgecache-Relay", "edgecache-RELAY"])
async def test_a_client_cannot_say_that_it_is_another(serve: Serve, name: str) -> None:
    async with serve() as site:
        site.origin.put("outputs/a.png", b"data")
        fields = [(name, "6.6.6.6 internal evil"), ("X-Request-Id", "mine"), ("Connection", name)]
        await site.get(PATH, fields)
        await site.request("POST", "/uses", [(name, "- internal -"), ("Content-Length", "0")])
    assert [
        (entry["client"], entry["status"], entry["request_id"]) for entry in site.access_entries()
    ] == [("127.0.0.1", 200, "mine"), ("127.0.0.1", 405, "")]


@pytest.mark.usefixtures("relayed")
async def test_a_relayed_request_is_logged_and_counted_once(serve: Serve) -> None:
    async with serve() as site:
        site.origin.put("outputs/a.png", b"data")
        await site.get(PATH)
        assert await site.metric("http_requests_total") == 1
    assert len(site.access_log()) == 1
