"""GET, HEAD and OPTIONS on the public port. Rule: one exchange in, one answer out, one log line;
an answer that can't be ended as it began is cut, never ended short."""

import json
import logging
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import web

from edgecache.config import Cors
from edgecache.core.accesslog import AccessEntry
from edgecache.core.answer import length_line, render
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.cors import preflight_fields
from edgecache.core.errors import (
    BadTarget,
    EdgecacheError,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamError,
)
from edgecache.core.model import Forward, Result
from edgecache.core.validators import format_http_date
from edgecache.engine import Engine
from edgecache.metrics import Metrics
from edgecache.request import ObjectRequest
from edgecache.web.exchange import HOST, Exchange, Written
from edgecache.web.own_head import SERVER, OwnHead
from edgecache.web.routing import Router

log = logging.getLogger("edgecache.delivery")

ALLOW = "GET, HEAD, OPTIONS"
# The only methods that get a label of their own in the metrics.
METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
VERSIONS = frozenset({(1, 0), (1, 1)})


class Delivery:
    def __init__(
        self,
        engine: Engine,
        router: Router,
        metrics: Metrics,
        *,
        cors: Cors,
        own_head: OwnHead,
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
        self._own_head = own_head

    async def handle(self, request: web.BaseRequest) -> Written:
        exchange = Exchange(request, self._write_timeout)
        self._metrics.in_flight.inc()
        try:
            await self._respond(exchange)
        except ConnectionError:
            exchange.cut()
        except TimeoutError:
            log.info("answer cut target=%.200r reason=the client does not read", target(request))
            exchange.cut()
        except Exception:
            exchange.status = 500
            raise  # the connection logs it, and answers if nothing was sent
        finally:
            self._metrics.in_flight.dec()
            self._finish(exchange)
        return exchange.end()

    async def _respond(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            match request.method:
                case "GET" | "HEAD":
                    await self._deliver(exchange)
                case "OPTIONS":
                    await self._preflight(exchange)
                case _:
                    raise MethodNotAllowed(f"this method is not served here, only {ALLOW}")
        except EdgecacheError as error:
            if not exchange.has_begun:
                await self._refuse(exchange, error)
                return
            hint = error.hint
            log.warning("answer cut target=%.200r reason=%s %s", target(request), error, hint)
            exchange.cut()

    async def _deliver(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.version not in VERSIONS:  # the parser also lets 0.9 and 2.0 pass
            raise BadTarget("only HTTP/1.1 and HTTP/1.0 are spoken here")
        if not HOST.fullmatch(request.headers.get("Host", "")):  # none: the parser has refused it
            raise BadTarget("the Host field is malformed")  # RFC 9112 §3.2
        key, route = self._router.resolve(request.raw_path)
        exchange.route = route.label
        wanted = ObjectRequest(method=request.method, key=key, route=route, headers=request.headers)
        answer = await self._engine.answer(wanted)
        exchange.result = answer.result
        exchange.cache_status = answer.cache_status
        head = render(answer.fields) + length_line(answer.length) + self._own_lines(exchange)
        if answer.body is None or answer.first is None:
            await exchange.begin(answer.status, head, source=None)
            return
        status, body, (source, data) = answer.status, answer.body, answer.first
        del answer  # its first piece would pin a whole slice until the end
        async with aclosing(body):
            await exchange.begin(status, head, data, source=source)
            async for source, data in body:
                await exchange.write(source, data)

    async def _preflight(self, exchange: Exchange) -> None:
        exchange.result = Result.BYPASS
        headers, cors = exchange.request.headers, self._cors
        allowed = preflight_fields(headers, cors.allow_origins, cors.max_age)
        fields = [("Allow", ALLOW), self._date(), *allowed]
        own = SERVER if allowed else self._own_lines(exchange)
        await exchange.begin(204, render(fields) + own, source=None)

    async def _refuse(self, exchange: Exchange, error: EdgecacheError) -> None:
        """A short answer that says what was wrong; ours and the origin's faults go to the log."""
        request = exchange.request
        exchange.result = Result.ERROR
        if error.status >= 500:
            log.warning(
                "%s %.200r failed status=%d reason=%s %s",
                request.method,
                target(request),
                error.status,
                error,
                error.hint,
            )
        kind, text = "text/plain; charset=utf-8", error.message
        if "application/json" in request.headers.get("Accept", ""):
            kind = "application/json"
            text = json.dumps({"error": {"status": error.status, "message": error.message}})
        body = f"{text}\n".encode()
        sent = b"" if request.method == "HEAD" else body
        fields = [("Content-Type", kind), *error_fields(error), self._date()]
        exchange.cache_status = dict(fields).get("Cache-Status", "")
        head = render(fields) + length_line(len(body)) + self._own_lines(exchange)
        await exchange.begin(error.status, head, sent, source=None)

    def _own_lines(self, exchange: Exchange) -> str:
        return self._own_head.lines(exchange.request.headers.get("Origin"))

    def _date(self) -> tuple[str, str]:
        return ("Date", format_http_date(self._clock()))

    def _finish(self, exchange: Exchange) -> None:
        method = exchange.request.method
        duration = exchange.duration
        self._metrics.served(
            method if method in METHODS else "other",
            exchange.status,
            exchange.route,
            exchange.result,
            duration,
            exchange.time_to_first_byte or duration,
        )
        for source, count in exchange.sent.items():
            self._metrics.gave(exchange.route, source, count)
        if self._record is not None:
            self._record(exchange.entry(self._clock()))


def target(request: web.BaseRequest) -> str:
    """The request target without its query, where signatures are."""
    return request.raw_path.partition("?")[0]


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
        forward = Forward.STALE if error.stale else Forward.MISS
        status = CacheStatus(forward=forward, forward_status=error.forward_status or None)
        if isinstance(error, NotFound) and not error.forward_status:
            status = CacheStatus(hit=True, detail="negative")
        fields.append(("Cache-Status", format_cache_status(status)))
    return fields
