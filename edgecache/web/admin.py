"""The admin port: metrics, health, figures. Rule: with a token set, only the probes are open."""

import hmac
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from edgecache import __version__
from edgecache.core.model import Result
from edgecache.metrics import METRICS_TYPE, Metrics
from edgecache.origins import Origins
from edgecache.purger import Purger
from edgecache.store import SliceStore
from edgecache.web.explaining import Explainer, explain
from edgecache.web.purging import purge

OPEN = frozenset({"/healthz", "/readyz"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    def __init__(
        self,
        metrics: Metrics,
        store: SliceStore,
        origins: Origins,
        purger: Purger,
        warm: Handler,
        explainer: Explainer,
        *,
        cache_dir: Path,
        token: str,
        problems: Callable[[], list[str]] = list,
    ) -> None:
        """`problems`: of the other processes."""
        self._metrics = metrics
        self._store = store
        self._origins = origins
        self._purger = purger
        self._answer_warm = warm
        self._explainer = explainer
        self._cache_dir = cache_dir
        self._token = token.encode()
        self._problems = problems
        self._began = time.monotonic()
        self.draining = False

    def use(self, origins: Origins, warm: Handler, explainer: Explainer, token: str) -> None:
        """Of another config."""
        self._origins = origins
        self._answer_warm = warm
        self._explainer = explainer
        self._token = token.encode()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/metrics", self._show_metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/api/stats", self._stats),
                web.get("/api/explain", self._explain),
                web.post("/api/purge", self._purge),
                web.post("/api/warm", self._warm),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._token and request.path not in OPEN:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                return web.Response(
                    status=401,
                    text="this needs the admin token as a bearer token\n",
                    headers={"WWW-Authenticate": 'Bearer realm="edgecache"'},
                )
        return await handler(request)

    def trouble(self) -> list[str]:
        """Why this server should get no new traffic; empty: it is ready."""
        draining = "draining" if self.draining else ""
        own = (self._store.trouble(), self._origins.trouble(), draining)
        return [what for what in (*own, *self._problems()) if what]

    def refresh(self) -> None:
        """Gauges that are read rather than kept."""
        self._metrics.cache_size.set(self._store.size)
        self._metrics.cache_limit.set(self._store.limit)
        self._metrics.cache_pressure.set(self._store.pressure)
        self._metrics.cache_slices.set(self._store.slices)
        self._metrics.store_trouble.set(bool(self._store.trouble()))
        self._origins.refresh()
        self._metrics.ready.set(not self.trouble())
        try:
            self._metrics.disk_free.set(shutil.disk_usage(self._cache_dir).free)
        except OSError:  # the folder is gone: /readyz says so
            self._metrics.disk_free.set(0)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self.refresh()
        return web.Response(body=self._metrics.render(), headers={"Content-Type": METRICS_TYPE})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        trouble = self.trouble()
        if trouble:
            return web.Response(status=503, text="\n".join(trouble) + "\n")
        return web.Response(text="ready\n")

    async def _explain(self, request: web.Request) -> web.Response:
        return await explain(request, self._explainer)

    async def _purge(self, request: web.Request) -> web.Response:
        return await purge(request, self._purger, self._metrics, self._origins.names)

    async def _warm(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_warm(request)

    async def _stats(self, _: web.Request) -> web.Response:
        total = self._metrics.total
        results = {r.value: int(total("http_requests_total", result=r)) for r in Result}
        looked_up = sum(results[r] for r in ("hit", "stale", "partial", "miss", "revalidated"))
        from_cache = results["hit"] + results["stale"]
        client, origin = total("client_body_bytes_total"), total("origin_body_bytes_total")
        avoided, incurred = (
            total(f"cost_{which}_dollars_total") for which in ("avoided", "incurred")
        )
        return web.json_response(
            {
                "version": __version__,
                "uptime": round(time.monotonic() - self._began, 3),
                "requests": results,
                "hit_ratio": round(from_cache / looked_up, 4) if looked_up else None,
                "bytes": {
                    "client": int(client),
                    "origin": int(origin),
                    "saved": int(client - origin),  # negative: it cost more than it gave
                    "wasted": int(total("origin_wasted_bytes_total")),
                },
                "dollars": {
                    "avoided": round(avoided, 6),
                    "incurred": round(incurred, 6),
                    "saved": round(avoided - incurred, 6),
                },
                "cache": {
                    "size": self._store.size,
                    "limit": self._store.limit,
                    "pressure": self._store.pressure,
                    "slices": self._store.slices,
                },
            }
        )
