"""GET, HEAD and OPTIONS on the public port. Rule: one exchange in, one answer out, one log line;
an answer that can't be ended as it began is cut, never ended short."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from aiohttp import web

from edgecache.config import Cors
from edgecache.core.answer import length_line, render
from edgecache.core.cors import preflight_fields
from edgecache.core.errors import BadTarget, EdgecacheError, MethodNotAllowed
from edgecache.core.model import ObjectKey, Result
from edgecache.core.validators import format_http_date
from edgecache.metrics import Metrics
from edgecache.request import Answer, ObjectRequest
from edgecache.web.accesslog import AccessLog
from edgecache.web.exchange import Exchange, Written, is_host
from edgecache.web.own_head import SERVER, OwnHead
from edgecache.web.peer import is_internal, version_read
from edgecache.web.refusal import ALLOW, refuse, target
from edgecache.web.routing import Router

log = logging.getLogger("edgecache.delivery")

# The only methods that get a label of their own in the metrics.
METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
VERSIONS = frozenset({(1, 0), (1, 1)})


class Delivery:
    def __init__(
        self,
        answer: Callable[[ObjectRequest], Awaitable[Answer | None]],
        router: Router,
        metrics: Metrics,
        *,
        cors: Cors,
        own_head: OwnHead,
        write_timeout: float,
        clock: Callable[[], float],
        access_log: AccessLog | None,
        on_given: Callable[[ObjectKey, int, int, int], None] = lambda *_: None,
    ) -> None:
        """`on_given` is told of an object: body bytes, answers, and hits among them."""
        self.running = 0  # answers
        self._answer = answer
        self._router = router
        self._metrics = metrics
        self._cors = cors
        self._write_timeout = write_timeout
        self._clock = clock
        self._access_log = access_log
        self._on_given = on_given
        self._own_head = own_head

    def exchange(self, request: web.BaseRequest) -> Exchange:
        return Exchange(request, self._write_timeout)

    async def handle(self, request: web.BaseRequest) -> Written:
        return await self.run(self.exchange(request))

    async def run(
        self, exchange: Exchange, answer: Answer | EdgecacheError | None = None
    ) -> Written:
        """Answers, with `answer` if it is there already, and keeps account of it."""
        self._metrics.in_flight.inc()
        self.running += 1
        try:
            await self._respond(exchange, answer)
        except ConnectionError:
            exchange.cut()
        except TimeoutError:
            where = target(exchange.request)
            log.info("answer cut target=%.200r reason=the client does not read", where)
            exchange.cut()
        except Exception:
            exchange.status = 500
            raise  # the connection logs it, and answers if nothing was sent
        finally:
            self.running -= 1
            self._metrics.in_flight.dec()
            self._finish(exchange)
        return exchange.end()

    async def _respond(self, exchange: Exchange, answer: Answer | EdgecacheError | None) -> None:
        request = exchange.request
        try:
            if isinstance(answer, EdgecacheError):
                raise answer
            match request.method:
                case "GET" | "HEAD":
                    answer = answer or await self.find(exchange)
                    if answer is not None:  # the keeper's is never
                        await self._give(exchange, answer)
                case "OPTIONS":
                    await self._preflight(exchange)
                case _:
                    raise MethodNotAllowed(f"this method is not served here, only {ALLOW}")
        except EdgecacheError as error:
            if not exchange.has_begun:
                await refuse(exchange, error, self._own_head, now=self._clock())
                return
            hint = error.hint
            log.warning("answer cut target=%.200r reason=%s %s", target(request), error, hint)
            exchange.cut()

    async def find(self, exchange: Exchange) -> Answer | None:
        """The answer to a GET or HEAD.

        :raises EdgecacheError: with the status to give instead.
        """
        request = exchange.request
        if request.version not in VERSIONS:  # the parser also lets 0.9 and 2.0 pass
            raise BadTarget("only HTTP/1.1 and HTTP/1.0 are spoken here")
        if not is_host(request.headers.get("Host", "")):  # none: the parser has refused it
            raise BadTarget("the Host field is malformed")  # RFC 9112 §3.2
        key, route = self._router.resolve(request.raw_path)
        exchange.route, exchange.key = route.label, key
        return await self._answer(
            ObjectRequest(
                method=request.method,
                key=key,
                route=route,
                headers=request.headers,
                version=version_read(exchange.peer),
            )
        )

    async def _give(self, exchange: Exchange, answer: Answer) -> None:
        exchange.result = answer.result
        exchange.cache_status = answer.cache_status
        head = render(answer.fields) + length_line(answer.length) + self._own_lines(exchange)
        if answer.body is None or answer.first is None:
            await exchange.begin(answer.status, head, source=None)
            return
        source, data = answer.first
        answer.first = None  # it would pin a whole slice until the end
        async with aclosing(answer.body):
            await exchange.begin(answer.status, head, data, source=source)
            async for source, data in answer.body:
                await exchange.write(source, data)

    async def _preflight(self, exchange: Exchange) -> None:
        exchange.result = Result.BYPASS
        headers, cors = exchange.request.headers, self._cors
        allowed = preflight_fields(headers, cors.allow_origins, cors.max_age)
        fields = [("Allow", ALLOW), self._date(), *allowed]
        own = SERVER if allowed else self._own_lines(exchange)
        await exchange.begin(204, render(fields) + own, source=None)

    def _own_lines(self, exchange: Exchange) -> str:
        return self._own_head.lines(exchange.request.headers.get("Origin"))

    def _date(self) -> tuple[str, str]:
        return ("Date", format_http_date(self._clock()))

    def _finish(self, exchange: Exchange) -> None:
        for source, count in exchange.sent.items():
            self._metrics.gave(exchange.route, source, count)
        is_part = is_internal(exchange.peer)  # of an answer that a worker keeps account of
        if exchange.key is not None and (served := sum(exchange.sent.values())):
            is_hit = exchange.result in (Result.HIT, Result.STALE) and not is_part
            self._on_given(exchange.key, served, int(not is_part), int(is_hit))
        if is_part:
            return
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
        if self._access_log is not None:
            self._access_log.record(exchange.entry(self._clock()))
