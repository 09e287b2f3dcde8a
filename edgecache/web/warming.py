"""`POST /api/warm`: what it asks for, and what became of it. Rule: it answers within seconds,
however much was asked for; what is not there by then is "more", to be asked for again."""

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from edgecache.core.errors import BadTarget
from edgecache.core.index import Route
from edgecache.core.keys import checked
from edgecache.core.model import ObjectKey, Warmed
from edgecache.warm import Outcome, Wanted, Warmer
from edgecache.web.purging import refused

USAGE = (
    'send {"objects": [{"key": "outputs/a.mp4", "range": "bytes=0-1048575"}, ...]} with up to 100 '
    'objects ("range" and "origin" may be left out; so may "limit": 1048576 and "evict": true '
    "beside them) as application/json"
)
MOST_OBJECTS = 100
FIELDS = {"key", "range", "origin"}
# Seconds until the answer. Few, so that a command that is stopped ends soon.
PATIENCE = 2.0

Find = Callable[[str, str | None], tuple[ObjectKey, Route]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    objects: list[dict[str, str]]
    limit: int
    evicts: bool


class Warming:
    """`find` is the router's: an object and its route, of a key and the name of an origin or None;
    whoever has the admin port may warm what is not public."""

    def __init__(self, warmer: Warmer, find: Find, origins: Collection[str]) -> None:
        self.running = 0  # requests
        self._warmer = warmer
        self._find = find
        self._origins = origins

    async def answer(self, request: web.Request) -> web.Response:
        # Not what a form on any web page could send.
        if request.content_type != "application/json":
            return refused(415, USAGE)
        try:
            asked = read(json.loads(await request.text()))
        except ValueError:
            asked = None
        if asked is None:
            return refused(400, USAGE)
        self.running += 1
        try:
            return web.json_response({"objects": await self._warm_all(asked)})
        finally:
            self.running -= 1

    async def _warm_all(self, asked: Asked) -> list[dict[str, str | int]]:
        until = asyncio.get_running_loop().time() + PATIENCE
        answers = []
        left = asked.limit
        for one in asked.objects:
            outcome = await self._warm(one, until, left, evicts=asked.evicts)
            left -= outcome.bytes
            answers.append(described(one["key"], outcome))
        return answers

    async def _warm(self, one: dict[str, str], until: float, most: int, *, evicts: bool) -> Outcome:
        origin = one.get("origin")
        if origin is not None and origin not in self._origins:
            return Outcome(Warmed.BAD_KEY, detail="no origin has that name")
        try:
            key, route = self._find(checked(one["key"]), origin)
        except BadTarget as error:
            return Outcome(Warmed.BAD_KEY, detail=error.message)
        if most <= 0:
            return Outcome(Warmed.MORE)
        wanted = Wanted(key=key, route=route, range=one.get("range", ""), most=most, evicts=evicts)
        return await self._warmer.warm(wanted, until)


def read(asked: Any) -> Asked | None:
    """None: not as `USAGE` says."""
    match asked:
        case {"objects": [*objects], **rest} if 0 < len(objects) <= MOST_OBJECTS:
            limit, evicts = rest.pop("limit", 2**62), rest.pop("evict", False)
        case _:
            return None
    if rest or not all(map(is_object, objects)):
        return None
    # True is an int, too.
    if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
        return None
    return Asked(objects=objects, limit=limit, evicts=evicts) if isinstance(evicts, bool) else None


def is_object(one: object) -> bool:
    return (
        isinstance(one, dict)
        and {"key"} <= one.keys() <= FIELDS
        and all(isinstance(value, str) for value in one.values())
    )


def described(key: str, outcome: Outcome) -> dict[str, str | int]:
    answer: dict[str, str | int] = {"key": key, "result": outcome.result, "bytes": outcome.bytes}
    return answer | {"detail": outcome.detail} if outcome.detail else answer
