"""`POST /api/purge`: what it asks for, and what became of it. Rule: what is not understood purges
nothing."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from edgecache.core.errors import ClientError, EdgecacheError, StoreError
from edgecache.core.keys import checked, checked_prefix
from edgecache.core.marks import Kind, Target
from edgecache.core.model import ObjectKey
from edgecache.core.tags import tag_of
from edgecache.metrics import Metrics
from edgecache.purger import Purger

log = logging.getLogger("edgecache.admin")

USAGE = (
    'send one of {"key": "outputs/a.webp"}, {"prefix": "outputs/cat/"}, {"tag": "cat"} or '
    '{"all": true} as application/json, with "origin", "soft" or "dry_run" where wanted'
)
KINDS = {str(kind) for kind in Kind}


class BadPurge(ClientError):
    """It can't be meant so."""


@dataclass(frozen=True, slots=True)
class Asked:
    target: Target
    soft: bool = False
    dry_run: bool = False


async def purge(
    request: web.Request, purger: Purger, metrics: Metrics, origins: Sequence[str]
) -> web.Response:
    """When it answers 200, nobody is served what was purged."""
    # Not what a form on any web page could send.
    if request.content_type != "application/json":
        return refused(415, USAGE)
    try:
        asked = parse(await request.text(), origins)
    except ClientError as error:
        return refused(error.status, error.message)
    kind, mode = asked.target.kind, "soft" if asked.soft else "hard"
    began = time.monotonic()
    try:
        if asked.dry_run:
            survey = await purger.survey(asked.target)
            found = {"objects": survey.objects, "bytes": survey.bytes, "keys": survey.keys}
            return web.json_response({"would_purge": found})
        result = await carry_out(asked, purger, metrics, origins)
    except EdgecacheError as error:
        how = "not purged for good" if isinstance(error, StoreError) else "not purged"
        if not asked.dry_run:
            metrics.purges.labels(kind, mode, "failed").inc()
            log.error("%s client=%s asked=%.300r error=%s", how, request.remote, asked, error)
        return refused(503, error.message if asked.dry_run else f"{how}: {error.message}")
    metrics.purges.labels(kind, mode, "done").inc()
    log.warning(
        "purged client=%s kind=%s what=%.300r origin=%s soft=%s result=%s seconds=%.3f",
        *(request.remote, kind, asked.target.text, asked.target.origin or "*", asked.soft),
        *(result, time.monotonic() - began),
    )
    return web.json_response({"purged": result})


async def carry_out(
    asked: Asked, purger: Purger, metrics: Metrics, origins: Sequence[str]
) -> int | str:
    """How many, or what kind: then they are counted as they are cleared up, behind."""
    target = asked.target
    if target.kind is Kind.KEY:
        chosen = [target.origin] if target.origin else origins
        keys = [ObjectKey(origin, target.text) for origin in chosen]
        found = sum([await purger.catalog.purge(key, soft=asked.soft) for key in keys])
        metrics.purged(found, soft=asked.soft)
        return found
    await purger.mark(target, soft=asked.soft)
    return str(target.kind)


def parse(text: str, origins: Sequence[str]) -> Asked:
    """:raises ClientError: saying what is wrong with it."""
    try:
        fields = json.loads(text)
    except ValueError:
        raise BadPurge(f"not JSON: {USAGE}") from None
    if not isinstance(fields, dict) or len(KINDS & fields.keys()) != 1:
        raise BadPurge(USAGE)
    if unknown := fields.keys() - KINDS - {"origin", "soft", "dry_run"}:
        raise BadPurge(f"unknown: {min(unknown)!r:.80}: {USAGE}")
    for name in ("soft", "dry_run"):
        if not isinstance(fields.get(name, False), bool):
            raise BadPurge(f"{name!r} is true or false")
    origin = fields.get("origin", "")
    if origin and origin not in origins:
        raise BadPurge(f"no origin is named {origin!r:.80}: there is {', '.join(origins)}")
    return Asked(target_of(fields, origin), fields.get("soft", False), fields.get("dry_run", False))


def target_of(fields: Mapping[str, object], origin: str) -> Target:
    match fields:
        case {"key": str(key)}:
            return Target(Kind.KEY, checked(key), origin)
        case {"prefix": str(prefix)}:
            return Target(Kind.PREFIX, checked_prefix(prefix), origin)
        case {"tag": str(text)}:
            if not (tag := tag_of(text)):
                raise BadPurge(f"no tag can be {text!r:.80}")
            return Target(Kind.TAG, tag, origin)
        case {"all": True}:
            return Target(Kind.ALL, "", origin)
        case _:
            raise BadPurge(USAGE)


def refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"status": status, "message": message}}, status=status)
