"""Short answers that say what was wrong, from the keeper and from a worker alike."""

import json
import logging

from aiohttp import web

from edgecache.core.answer import length_line, render
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import (
    EdgecacheError,
    MethodNotAllowed,
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    Unavailable,
    UpstreamBusy,
    UpstreamError,
)
from edgecache.core.model import Forward, Result
from edgecache.core.validators import format_http_date
from edgecache.web.exchange import Exchange
from edgecache.web.own_head import OwnHead

log = logging.getLogger("edgecache.delivery")

ALLOW = "GET, HEAD, OPTIONS"


async def refuse(
    exchange: Exchange, error: EdgecacheError, own_head: OwnHead, *, now: float
) -> None:
    """Ours and the origin's faults go to the log."""
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
    fields = [("Content-Type", kind), *error_fields(error), ("Date", format_http_date(now))]
    exchange.cache_status = dict(fields).get("Cache-Status", "")
    own = own_head.lines(request.headers.get("Origin"))
    head = render(fields) + length_line(len(body)) + own
    await exchange.begin(error.status, head, sent, source=None)


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
        case UpstreamBusy() | Unavailable():
            fields.append(("Retry-After", str(error.retry_after)))
        case _:
            pass
    if isinstance(error, UpstreamError | NotFound):
        forward = Forward.STALE if error.stale else Forward.MISS
        status = CacheStatus(
            forward=None if isinstance(error, NotAsked) else forward,
            forward_status=error.forward_status or None,
            detail=error.detail,
        )
        if isinstance(error, NotFound) and not error.forward_status:
            status = CacheStatus(hit=True, detail="negative")
        fields.append(("Cache-Status", format_cache_status(status)))
    return fields
