"""Connections. What clients can do to them is in tests/test_hostile.py and
tests/test_conformance_limits.py; here are the parts and our own bugs."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp.http_parser
import pytest
from aiohttp import web

from edgecache.config import Costs
from edgecache.config_listen import Listen
from edgecache.core.errors import ConfigError
from edgecache.metrics import Metrics
from edgecache.web.protocol import HttpServer, bare_answer, require_c_parser

REQUEST = b"GET /secret HTTP/1.1\r\nHost: e\r\n\r\n"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(handler: Handler, metrics: Metrics | None = None) -> AsyncIterator[int]:
    server = HttpServer(Listen(), metrics or Metrics(Costs()))
    server.use(handler)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(1)


async def ask(port: int, data: bytes = REQUEST) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_the_c_parser_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """W02: the Python one has a record of smuggling."""
    require_c_parser()
    python = aiohttp.http_parser.HttpRequestParserPy
    monkeypatch.setattr(aiohttp.http_parser, "HttpRequestParser", python)
    with pytest.raises(ConfigError, match="without its C parser") as caught:
        require_c_parser()
    assert "AIOHTTP_NO_EXTENSIONS" in caught.value.hint


def test_aiohttp_is_new_enough() -> None:
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:3])
    assert (3, 14, 4) <= version < (3, 15)
    assert "aiohttp._http_parser" in sys.modules


def test_a_bare_answer() -> None:
    assert bare_answer(HTTPStatus.SERVICE_UNAVAILABLE, "Retry-After: 1") == (
        b"HTTP/1.1 503 Service Unavailable\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 20\r\n"
        b"Connection: close\r\n"
        b"Retry-After: 1\r\n"
        b"\r\n"
        b"Service Unavailable\n"
    )


async def test_a_bug_of_ours_is_a_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("the password is hunter2")

    async with listening(handler) as port:
        answer = await ask(port)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert answer.endswith(b"\r\n\r\nInternal Server Error\n")
    assert b"hunter2" not in answer
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("edgecache.http", logging.ERROR)
    assert "hunter2" in caplog.text


async def test_a_bug_after_the_answer_began_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"begun")
        raise RuntimeError("too late for a status")

    async with listening(handler) as port:
        answer = await ask(port)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"500" not in answer
    assert answer.endswith((b"begun", b"\r\n\r\n"))
    assert "too late" in caplog.text


async def test_what_the_parser_refuses_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError("not for the handler")

    caplog.set_level(logging.INFO)
    metrics = Metrics(Costs())
    async with listening(handler, metrics) as port:
        for _ in range(3):
            answer = await ask(port, b"\x1b[31m / HTTP/1.1\r\n\r\n")
            assert b" 400 Bad Request\r\n" in answer
            assert b"Server: edgecache\r\n" in answer
            assert b"\x1b" not in answer
    assert metrics.total("http_bad_requests_total") == 3
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 3
    assert all("\x1b" not in record.getMessage() for record in caplog.records)
    assert all("client=127.0.0.1" in record.getMessage() for record in caplog.records)


async def test_open_connections_are_counted() -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=str(metrics.total("http_connections")))

    metrics = Metrics(Costs())
    async with listening(handler, metrics) as port:
        closing = REQUEST.replace(b"Host", b"Connection: close\r\nHost")
        assert (await ask(port, closing)).endswith(b"\r\n\r\n1.0")
    assert metrics.total("http_connections") == 0
