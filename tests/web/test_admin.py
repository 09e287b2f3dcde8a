from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request
from pytest_aiohttp import AiohttpClient

from edgecache import __version__
from edgecache.catalog import Catalog
from edgecache.config import Config, Costs, Origin
from edgecache.config_fetch import Fetch
from edgecache.core.accounts import Accounts
from edgecache.core.errors import NotFound, UpstreamError
from edgecache.core.index import Route
from edgecache.core.model import ObjectKey, Reason, Result, Source, Waste
from edgecache.core.ranges import RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.fill import FillTable
from edgecache.generations import Generations
from edgecache.metrics import Metrics
from edgecache.origins import Origins
from edgecache.purger import Purger
from edgecache.store.memory import MemoryStore
from edgecache.tasks import Tasks
from edgecache.upstream import Body
from edgecache.web.admin import Admin
from edgecache.web.explaining import Explainer
from edgecache.web.routing import Router

KEY = ObjectKey("volume", "outputs/a.png")
ROUTE = Route(label="/", ttl=60, browser_ttl=60)
Client = TestClient[Request, Application]
FAILURES = 5


class FailingUpstream:
    def __init__(self) -> None:
        self.error: Exception = UpstreamError("no")

    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        if_match: str = "",
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        raise self.error

    async def close(self) -> None: ...


async def not_asked(_: web.Request) -> web.Response:
    raise AssertionError


class Parts:
    def __init__(self, folder: Path, token: str = "") -> None:
        self.metrics = Metrics(Costs(app_platform=0.2, host=0.01, origin=0.05))
        self.store = MemoryStore()
        self.upstream = FailingUpstream()
        self.origins = Origins(
            {"volume": self.upstream},
            self.metrics,
            fetch=Fetch(retries=0, breaker_failures=FAILURES, breaker_pause=60),
        )
        self.tasks = Tasks()
        fills = FillTable(self.tasks, on_end=lambda _: None)
        catalog = Catalog(
            self.store,
            self.tasks,
            self.metrics,
            fills,
            generations=Generations(),
            clock=lambda: 0.0,
            slice_size=2**20,
        )
        explainer = Explainer(
            Router(Config(origins={"volume": Origin(endpoint="https://s3.example", bucket="b")})),
            store=self.store,
            catalog=catalog,
            fills=fills,
            accounts=Accounts(),
            slice_size=2**20,
            refresh=lambda: None,
        )
        self.admin = Admin(
            self.metrics,
            self.store,
            self.origins,
            Purger(catalog, self.store, self.metrics),
            not_asked,
            explainer,
            cache_dir=folder,
            token=token,
        )

    async def fail(self, error: Exception, times: int) -> None:
        self.upstream.error = error
        for number in range(times):
            key = KEY._replace(key=f"{number}.png")
            with pytest.raises(type(error)):
                await self.origins.get(key, None, route=ROUTE, reason=Reason.DEMAND)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


@pytest.fixture
async def client(parts: Parts, aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(parts.admin.application())


async def read(client: Client, path: str) -> tuple[int, str]:
    async with client.get(path) as response:
        return response.status, await response.text()


async def test_it_is_alive_and_ready(client: Client) -> None:
    assert await read(client, "/healthz") == (200, "ok\n")
    assert await read(client, "/readyz") == (200, "ready\n")


async def test_what_makes_it_unready(parts: Parts, client: Client) -> None:
    parts.store.failing = True
    await parts.fail(UpstreamError("no"), FAILURES)
    parts.admin.draining = True
    assert await read(client, "/readyz") == (
        503,
        "No space left on device\norigin failing: volume\ndraining\n",
    )
    assert await read(client, "/healthz") == (200, "ok\n")  # a restart would mend none of it
    assert "\nedgecache_ready 0.0\n" in (await read(client, "/metrics"))[1]


async def test_an_origin_that_is_left_alone_makes_it_unready(parts: Parts, client: Client) -> None:
    await parts.fail(NotFound("no"), 2 * FAILURES)  # answers, of which the client is to blame
    await parts.fail(UpstreamError("no"), FAILURES)
    assert await read(client, "/readyz") == (200, "ready\n")  # less than half of all
    await parts.fail(UpstreamError("no"), FAILURES)
    assert await read(client, "/readyz") == (503, "origin failing: volume\n")
    text = (await read(client, "/metrics"))[1]
    for state, value in [("closed", 0), ("open", 1), ("half-open", 0)]:
        sample = f'edgecache_origin_breaker_state{{origin="volume",state="{state}"}} {value}.0'
        assert sample in text


async def test_metrics(parts: Parts, client: Client) -> None:
    async with client.get("/metrics") as response:
        text = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    for line in ("cache_limit_bytes 1.073741824e+09", "cache_slices 0.0", "ready 1.0"):
        assert f"\nedgecache_{line}\n" in text
    assert f'edgecache_build_info{{version="{__version__}"}} 1.0' in text


@pytest.mark.parametrize(("folder", "full"), [(".", False), ("gone", True)])
async def test_a_cache_folder_that_is_gone_has_no_room(
    tmp_path: Path, aiohttp_client: AiohttpClient, folder: str, full: bool
) -> None:
    client = await aiohttp_client(Parts(tmp_path / folder).admin.application())
    assert ("\nedgecache_disk_free_bytes 0.0\n" in (await read(client, "/metrics"))[1]) == full


async def test_stats_of_nothing(client: Client) -> None:
    async with client.get("/api/stats") as response:
        stats = await response.json()
    assert stats.pop("uptime") >= 0
    assert stats == {
        "version": __version__,
        "requests": dict.fromkeys(Result, 0),
        "hit_ratio": None,
        "bytes": {"client": 0, "origin": 0, "saved": 0, "wasted": 0},
        "dollars": {"avoided": 0, "incurred": 0, "saved": 0},
        "cache": {"size": 0, "limit": 2**30, "pressure": 0, "slices": 0},
    }


async def test_stats(parts: Parts, client: Client) -> None:
    for result, times in ((Result.HIT, 6), (Result.MISS, 2), (Result.ERROR, 5)):
        for _ in range(times):
            parts.metrics.served("GET", 200, "/", result, 0.1, 0.1)
    parts.metrics.gave("/", Source.CACHE, 9 * 10**9)
    parts.metrics.gave("/live/", Source.FILL, 10**9)
    parts.metrics.bought("/", Reason.DEMAND, 4 * 10**9)
    async with client.get("/api/stats") as response:
        stats = await response.json()
    assert stats["hit_ratio"] == 0.75  # errors were not looked up
    assert stats["requests"]["hit"] == 6
    assert stats["bytes"] == {
        "client": 10**10,
        "origin": 4 * 10**9,
        "saved": 6 * 10**9,
        "wasted": 0,
    }
    assert stats["dollars"] == {"avoided": 2.5, "incurred": 0.3, "saved": 2.2}


async def test_what_costs_more_than_it_gave_is_a_loss(parts: Parts, client: Client) -> None:
    parts.metrics.gave("/", Source.FILL, 10**9)
    parts.metrics.bought("/", Reason.WARM, 15 * 10**9)
    parts.metrics.bought("/", Reason.DEMAND, 2 * 10**9)
    parts.metrics.wasted(Waste.UNREAD, 10**9)
    async with client.get("/api/stats") as response:
        stats = await response.json()
    assert stats["bytes"] == {
        "client": 10**9,
        "origin": 17 * 10**9,
        "saved": -16 * 10**9,
        "wasted": 10**9,
    }
    assert stats["dollars"] == {"avoided": 0.25, "incurred": 0.86, "saved": -0.61}


@pytest.mark.parametrize(
    ("path", "open_to_all"),
    [
        ("/healthz", True),
        ("/readyz", True),
        ("/metrics", False),
        ("/api/stats", False),
        ("/api/explain", False),
        ("/nothing", False),
        ("/healthz/..", False),
    ],
)
@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", "Bearer s3cre", "bearer s3cret", "Basic s3cret", "s\xe9"],
)
async def test_a_token_guards_all_but_the_probes(
    tmp_path: Path, aiohttp_client: AiohttpClient, path: str, open_to_all: bool, given: str | None
) -> None:
    client = await aiohttp_client(Parts(tmp_path, token="s3cret").admin.application())
    headers = {} if given is None else {"Authorization": given}
    async with client.get(path, headers=headers) as response:
        assert (response.status != 401) == open_to_all
        if not open_to_all:
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="edgecache"'
            assert "s3cret" not in await response.text()
    async with client.get(path, headers={"Authorization": "Bearer s3cret"}) as response:
        assert response.status != 401


@pytest.mark.parametrize("path", ["/", "/outputs/a.png", "/api", "/metrics/", "/healthz/x"])
async def test_there_is_nothing_else(client: Client, path: str) -> None:
    assert (await read(client, path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_it_is_for_reading(client: Client, method: str) -> None:
    for path in ("/metrics", "/healthz", "/api/stats"):
        async with client.request(method, path) as response:
            assert response.status == 405
