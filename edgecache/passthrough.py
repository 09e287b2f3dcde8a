"""Answers that may not be stored: one origin answer for one client answer, nothing kept."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from edgecache.core.answer import answer_fields, body_length
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import RangeNotSatisfiable, UpstreamError
from edgecache.core.index import stored_response
from edgecache.core.model import ByteSpan, Forward, Reason, Result, Source
from edgecache.core.plan import PROBE, Plan, plan_answer
from edgecache.core.ranges import RangeSpec, parse_range, select
from edgecache.core.reply import Found
from edgecache.lookup import Lookup
from edgecache.request import Answer, ObjectRequest, Piece
from edgecache.slice_buffer import PIECE
from edgecache.upstream import Body


class Passthrough:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def answer(self, request: ObjectRequest) -> Answer:
        range_ = sole_range(request)
        found, body = await self._lookup.get(
            request.key,
            request.route,
            range_ if request.method == "GET" else PROBE,
            Reason.PASSTHROUGH,
        )
        if not isinstance(found, Found):
            body.close()
            raise UpstreamError("the origin answered 304 to a plain request")
        try:
            return await self._answer(request, range_, found, body)
        except BaseException:
            body.close()
            raise

    async def _answer(
        self, request: ObjectRequest, range_: RangeSpec | None, found: Found, body: Body
    ) -> Answer:
        stored = stored_response(found.meta, request.route)
        plan = plan_answer(request.method, request.headers, found.meta)
        if plan.spans:
            span = select(range_, found.meta.length) if range_ else None
            if range_ and span is None:
                raise RangeNotSatisfiable(found.meta.length)
            whole = ByteSpan(0, found.meta.length)
            plan = Plan(206 if span else 200, (span or whole,))
        status = CacheStatus(forward=Forward.BYPASS, forward_status=found.status)
        cache_status = format_cache_status(status)
        answer = Answer(
            status=plan.status,
            fields=[*answer_fields(stored, plan, ""), ("Cache-Status", cache_status)],
            length=body_length(stored, plan, ""),
            result=Result.BYPASS,
            cache_status=cache_status,
        )
        if request.method != "GET" or not answer.length:
            body.close()
            return answer
        pieces = cut(body, found.span, plan.spans[0])
        return replace(answer, first=await anext(pieces), body=pieces)


def sole_range(request: ObjectRequest) -> RangeSpec | None:
    """The one range to ask for; None, the whole, for several and where If-Range must decide."""
    specs = parse_range(request.headers.get("Range"))
    if request.method != "GET" or specs is None or len(specs) > 1:
        return None
    return None if "If-Range" in request.headers else specs[0]


async def cut(body: Body, has: ByteSpan, span: ByteSpan) -> AsyncGenerator[Piece, None]:
    """`span` out of a body that has `has`: all of it, unless the origin ignored Range."""
    position = has.start
    try:
        while position < span.stop:
            data = memoryview(await body.read())
            if not data:
                raise UpstreamError("the origin's body ended early")
            start = max(span.start - position, 0)
            position += len(data)
            data = data[start : len(data) - max(position - span.stop, 0)]
            for at in range(0, len(data), PIECE):
                yield Source.PASSTHROUGH, data[at : at + PIECE]
    finally:
        body.close()
