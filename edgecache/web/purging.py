"""`POST /api/purge`: what it asks for, and what became of it. Rule: what is not understood purges
nothing."""

import json
import logging
from collections.abc import Sequence

from aiohttp import web

from edgecache.catalog import Catalog
from edgecache.core.errors import BadTarget, StoreError
from edgecache.core.keys import checked
from edgecache.core.model import ObjectKey

log = logging.getLogger("edgecache.admin")

USAGE = 'send {"key": "outputs/a.webp"} or {"all": true} as application/json'


async def purge(request: web.Request, catalog: Catalog, origins: Sequence[str]) -> web.Response:
    """When it answers 200, nobody is served what was purged."""
    # Not what a form on any web page could send.
    if request.content_type != "application/json":
        return refused(415, USAGE)
    try:
        asked = json.loads(await request.text())
    except ValueError:
        return refused(400, f"not JSON: {USAGE}")
    try:
        match asked:
            case {"key": str(key), **rest} if not rest:
                checked(key)
                found = [await catalog.purge(ObjectKey(origin, key)) for origin in origins]
                result: int | str = sum(found)
            case {"all": True, **rest} if not rest:
                await catalog.purge_all()
                result = "all"
            case _:
                return refused(400, USAGE)
    except BadTarget as error:
        return refused(400, error.message)
    except StoreError as error:
        return refused(503, f"not purged for good: {error.message}")
    log.warning("purged client=%s asked=%.300r result=%s", request.remote, asked, result)
    return web.json_response({"purged": result})


def refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"status": status, "message": message}}, status=status)
