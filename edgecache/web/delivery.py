"""GET, HEAD and OPTIONS on the public port. Rule: one exchange in, one answer out, one log line;
an answer that can't be ended as it began is cut, never ended short."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

from edgecache.config import Cors
from edgecache.core.accesslog import AccessEntry
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.cors import preflight_fields, response_fields
from edgecache.core.errors import (
    BadTarget,
    EdgecacheError,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamError,
)
from edgecache.core.model import Forward, Result, Source
from edgecache.engine import Engine
from edgecache.metrics import Metrics
from edgecache.request import Answer, ObjectRequest, Piece
from edgecache.web.routing import Router

log = logging.getLogger("edgecache.delivery")

ALLOW = "GET, HEAD, OPTIONS"
# The only methods that get a label of their own in the metrics.
METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Exchange:
    """What became of one request, for its log line and its metrics."""

    began: float
    route: str = "-"
    status: int = 0
    result: Result = Result.ERROR
    cache_status: str = ""
    first_byte: float = 0.0
    sent: dict[Source, int] = field(default_factory=dict)
    other_bytes: int = 0


class Delivery:
    def __init__(
        self,
        engine: Engine,
        router: Router,
        metrics: Metrics,
        *,
        cors: Cors,
        write_timeout: float,
        clock: Callable[[], float],
        record: Callable[[AccessEntry], None] | None,
    ) -> None:
        self._engine = engine
        self._router = router
        self._metrics = metrics
        self._cors = cors
        self._write_timeout = write_timeout
        self._clock = clock
        self._record = record

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange(time.perf_counter())
        self._metrics.in_flight.inc()
        try:
            return await self._respond(request, exchange)
        finally:
            self._metrics.in_flight.dec()
            self._finish(request, exchange)

    async def _respond(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        try:
            match request.method:
                case "GET" | "HEAD":
                    response = await self._deliver(request, exchange)
                case "OPTIONS":
                    response = await self._preflight(request, exchange)
                case _:
                    raise MethodNotAllowed(f"this method is not served here, only {ALLOW}")
        except EdgecacheError as error:
            response = await self._refuse(request, exchange, error)
        if request.can_read_body:  # a body has no meaning here: what follows it can't be trusted
            response.force_close()
        return response

    async def _deliver(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        if request.version >= (1, 1) and "Host" not in request.headers:
            raise BadTarget("HTTP/1.1 needs a Host field")  # RFC 9112 §3.2
        key, route = self._router.resolve(request.raw_path)
        exchange.route = route.label
        answer = await self._engine.answer(
            ObjectRequest(method=request.method, key=key, route=route, headers=request.headers)
        )
        exchange.result = answer.result
        fields = CIMultiDict(answer.fields)
        response = self._begin(request, exchange, answer.status, fields)
        response.content_length = answer.length
        if answer.body is None or answer.first is None:
            await self._within_limit(response.prepare(request))
            return response
        async with aclosing(answer.body):
            try:
                await self._send(request, response, exchange, answer.first, answer)
            except EdgecacheError as error:
                log.warning("answer cut key=%.200r reason=%s %s", key.key, error, error.hint)
                cut(request)
            except TimeoutError:
                log.info("answer cut key=%.200r reason=the client does not read", key.key)
                cut(request)
        return response

    async def _send(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        exchange: Exchange,
        first: Piece,
        answer: Answer,
    ) -> None:
        await response.prepare(request)
        await self._write(response, exchange, first)
        exchange.first_byte = time.perf_counter() - exchange.began
        assert answer.body is not None  # noqa: S101  # `first` came from it
        async for piece in answer.body:
            await self._write(response, exchange, piece)

    async def _write(self, response: web.StreamResponse, exchange: Exchange, piece: Piece) -> None:
        source, data = piece
        async with asyncio.timeout(self._write_timeout):
            await response.write(data)
        exchange.sent[source] = exchange.sent.get(source, 0) + len(data)

    async def _within_limit(self, sending: object) -> None:
        async with asyncio.timeout(self._write_timeout):
            await sending  # type: ignore[misc]

    async def _preflight(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        fields = preflight_fields(request.headers, self._cors.allow_origins, self._cors.max_age)
        exchange.result = Result.BYPASS
        response = self._begin(request, exchange, 204, CIMultiDict([("Allow", ALLOW)]))
        response.headers.update(fields)
        await response.prepare(request)
        return response

    async def _refuse(
        self, request: web.BaseRequest, exchange: Exchange, error: EdgecacheError
    ) -> web.StreamResponse:
        """A short answer that says what was wrong; ours and the origin's faults go to the log."""
        exchange.result = Result.ERROR
        if error.status >= 500:
            log.warning(
                "%s %.200r failed status=%d reason=%s %s",
                request.method,
                request.raw_path.partition("?")[0],
                error.status,
                error,
                error.hint,
            )
        fields = CIMultiDict(error_fields(error))
        text = f"{error.message}\n"
        fields["Content-Type"] = "text/plain; charset=utf-8"
        if "application/json" in request.headers.get("Accept", ""):
            fields["Content-Type"] = "application/json"
            text = json.dumps({"error": {"status": error.status, "message": error.message}}) + "\n"
        response = self._begin(request, exchange, error.status, fields)
        body = text.encode()
        response.content_length = len(body)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(body)
            exchange.other_bytes = len(body)
        return response

    def _begin(
        self, request: web.BaseRequest, exchange: Exchange, status: int, fields: CIMultiDict[str]
    ) -> web.StreamResponse:
        exchange.status = status
        exchange.cache_status = fields.get("Cache-Status", "")
        fields["Server"] = "edgecache"
        if self._cors.allow_origins:
            origin = request.headers.get("Origin")
            for name, value in response_fields(origin, self._cors.allow_origins):
                fields.add(name, value)
        return web.StreamResponse(status=status, headers=fields)

    def _finish(self, request: web.BaseRequest, exchange: Exchange) -> None:
        duration = time.perf_counter() - exchange.began
        first_byte = exchange.first_byte or duration
        method = request.method if request.method in METHODS else "other"
        self._metrics.served(
            method, exchange.status, exchange.route, exchange.result, duration, first_byte
        )
        for source, count in exchange.sent.items():
            self._metrics.gave(exchange.route, source, count)
        if self._record is None:
            return
        headers = request.headers
        self._record(
            AccessEntry(
                time=self._clock(),
                client=request.remote or "-",
                method=request.method,
                path=request.raw_path,
                status=exchange.status,
                bytes=sum(exchange.sent.values()) + exchange.other_bytes,
                range=headers.get("Range", ""),
                duration=duration,
                time_to_first_byte=first_byte,
                cache_status=exchange.cache_status,
                result=exchange.result,
                referer=headers.get("Referer", ""),
                user_agent=headers.get("User-Agent", ""),
                request_id=headers.get("X-Request-Id", ""),
            )
        )


def cut(request: web.BaseRequest) -> None:
    """Ends the connection such that the client sees an incomplete body, not a short one."""
    if request.transport is not None:
        request.transport.abort()


def error_fields(error: EdgecacheError) -> list[tuple[str, str]]:
    fields = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    match error:
        case MethodNotAllowed():
            fields.append(("Allow", ALLOW))
        case RangeNotSatisfiable():
            fields.append(("Content-Range", f"bytes */{error.complete_length}"))
        case UpstreamBusy():
            fields.append(("Retry-After", str(error.retry_after)))
        case _:
            pass
    if isinstance(error, UpstreamError | NotFound):
        status = CacheStatus(forward=Forward.MISS, forward_status=error.forward_status or None)
        if isinstance(error, NotFound) and not error.forward_status:
            status = CacheStatus(hit=True, detail="negative")
        fields.append(("Cache-Status", format_cache_status(status)))
    return fields


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase
