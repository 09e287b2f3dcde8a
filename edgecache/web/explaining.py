"""`GET /api/explain`: all that is known of one object, and what a client would get now.

Rule of this module: it asks nobody but memory and the index, changes nothing that a client sees,
and its work is bounded however large the object is.
"""

import asyncio
from collections.abc import Callable
from math import floor

from aiohttp import web

from edgecache.catalog import Catalog
from edgecache.core.accounts import Accounts
from edgecache.core.cache_status import CacheStatus, format_cache_status
from edgecache.core.errors import BadTarget
from edgecache.core.explanation import (
    Facts,
    account_facts,
    freshness_facts,
    popularity_facts,
    purge_facts,
    response_facts,
    runs,
    timestamp,
)
from edgecache.core.index import Known, Missing, StoredResponse, Uncacheable
from edgecache.core.model import ByteSpan, Forward, SliceKey, StaleUse
from edgecache.core.ranges import slice_span, slices_of
from edgecache.engine import judge
from edgecache.fill import FillTable
from edgecache.lookup import Looked
from edgecache.store import SliceStore
from edgecache.stream import MOST_LOOKED_AT
from edgecache.web.purging import refused
from edgecache.web.routing import Router

# Slices of one object whose popularity is looked up.
MOST_WEIGHED = 1000
# Slices that are looked at in one turn of the event loop.
AT_A_TIME = 4096

USAGE = "say of which object: /api/explain?key=outputs/a.webp (and &origin=NAME)"


class Explainer:
    def __init__(
        self,
        router: Router,
        *,
        store: SliceStore,
        catalog: Catalog,
        fills: FillTable,
        accounts: Accounts,
        slice_size: int,
        refresh: Callable[[], None],
    ) -> None:
        """`refresh` brings the accounts up to date."""
        self._router = router
        self._store = store
        self._catalog = catalog
        self._fills = fills
        self._accounts = accounts
        self._slice_size = slice_size
        self._refresh = refresh

    async def explain(self, text: str, origin: str | None) -> Facts:
        """`text` is a key, or a target as clients send it; `origin` one of the config's, or None.

        :raises BadTarget: there is no such origin.
        """
        if origin is not None and origin not in self._router.origins:
            names = ", ".join(self._router.origins)
            raise BadTarget(f"there is no such origin; there are: {names}")
        try:
            name, named = self._router.locate(text)
        except BadTarget as error:
            now = {"status": error.status, "cache_status": ""}
            return {"key": text, "access": "refused", "why": error.message, "now": now}
        key, route = self._router.find(name, origin or named)
        self._refresh()
        is_public = self._router.is_public(name)
        known = await self._catalog.get(key, route)
        facts = await self._known(known)
        tags = known.meta.tags if isinstance(known, StoredResponse) else route.tags
        return {
            "key": key.key,
            "origin": key.origin,
            "route": route.label,
            "access": "public" if is_public else "private",
            "why": "" if is_public else "no prefix of access.public begins it",
            **facts,
            "account": account_facts(self._accounts.get(key), self._accounts.since),
            "purge": purge_facts(self._catalog.purge_log.last(key, tags)),
            "now": self._now(known, facts) if is_public else {"status": 403, "cache_status": ""},
        }

    async def _known(self, known: Known | None) -> Facts:
        match known:
            case None:
                return {"known": "unknown"}
            case Missing(until):
                return {"known": "missing", "until": timestamp(until)}
            case Uncacheable(until, why):
                return {"known": "uncacheable", "until": timestamp(until), "not_stored": why}
            case StoredResponse():
                slices = await self._slices(known)
                return {
                    "known": "stored",
                    "response": response_facts(known),
                    "freshness": freshness_facts(known, self._catalog.clock()),
                    "slices": slices,
                    "popularity": self._popularity(known),
                    "not_admitted": "" if slices["present"] else self._not_admitted(known),
                    "fills": [
                        {"slices": runs(fill.numbers), "readers": fill.readers}
                        for fill in self._fills.of(known.version)
                    ],
                }

    async def _slices(self, stored: StoredResponse) -> Facts:
        size, length = self._slice_size, stored.meta.length
        numbers = slices_of(ByteSpan(0, length), size)
        looked_at = numbers[:MOST_LOOKED_AT]
        here: list[int] = []
        for part in (looked_at[at : at + AT_A_TIME] for at in range(0, len(looked_at), AT_A_TIME)):
            here += [n for n in part if self._store.has(SliceKey(stored.version, n))]
            await asyncio.sleep(0)  # hits do not wait for this
        return {
            "present": len(here),
            "of": len(numbers),
            "looked_at": len(looked_at),
            "numbers": runs(here),
            "bytes": sum(len(slice_span(n, size, length)) for n in here),
            "slice_size": size,
        }

    def _popularity(self, stored: StoredResponse) -> Facts:
        span = ByteSpan(0, stored.meta.length)
        numbers = slices_of(span, self._slice_size)[:MOST_WEIGHED]
        found = (self._store.popularity(SliceKey(stored.version, number)) for number in numbers)
        return popularity_facts(
            [one for one in found if one is not None],
            pinned=self._store.admission.is_pinned(stored.meta.key),
        )

    def _not_admitted(self, stored: StoredResponse) -> str:
        """Why nothing of an object that may be stored is."""
        admission = self._store.admission
        if trouble := self._store.trouble():
            return f"disk trouble: {trouble}"
        if admission.is_too_large(stored.meta):
            return "larger than cache.max_object"
        if self._store.limit < self._slice_size:
            return "cache.size leaves no room for a slice"
        if admission.wear:
            return "cache.admit is wear: not asked for often enough yet, or evicted"
        return "nothing of it was read yet, or what was is evicted"

    def _now(self, known: Known | None, facts: Facts) -> Facts:
        """What a GET of the whole would get; status None: that is the origin's to say, and
        `if_error` what it gets of a stale object if the origin fails: 200 or 503."""
        status: int | None = None
        if_error: int | None = None
        said = CacheStatus(forward=Forward.URI_MISS)
        match known:
            case Missing():
                status, said = 404, CacheStatus(hit=True, detail="negative")
            case Uncacheable():
                said = CacheStatus(forward=Forward.BYPASS)
            case StoredResponse():
                now = self._catalog.clock()
                ttl = floor(known.lifetime - known.age(now))
                slices = facts["slices"]
                absent = slices["looked_at"] - slices["present"]
                is_whole = slices["present"] == slices["of"]
                behind = is_whole and known.serves_while_revalidating(now)
                if known.is_fresh(now) or behind:
                    use = None if known.is_fresh(now) else StaleUse.WHILE_REVALIDATE
                    looked = Looked(stored=known, use=use)
                    said, _ = judge(
                        looked,
                        absent,
                        slices["looked_at"],
                        ttl=ttl,
                        admitted=not self._store.admission.is_too_large(known.meta),
                    )
                    status = 200
                else:
                    said = CacheStatus(forward=Forward.STALE, ttl=ttl)
                    if known.serves_if_error(now):
                        if_error = 200 if is_whole else 503
            case None:
                pass
        told: Facts = {"status": status, "cache_status": format_cache_status(said)}
        return told if if_error is None else told | {"if_error": if_error}


async def explain(request: web.Request, explainer: Explainer) -> web.Response:
    key = request.query.get("key")
    if not key or not request.query.keys() <= {"key", "origin"}:
        return refused(400, USAGE)
    try:
        facts = await explainer.explain(key, request.query.get("origin"))
    except BadTarget as error:
        return refused(400, error.message)
    return web.json_response(facts)
