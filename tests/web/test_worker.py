"""A worker beside its keeper: what it answers alone, what it tells, and what it never mixes."""

from collections.abc import AsyncIterator

import pytest

from edgecache.core.errors import EdgecacheError, VersionChanged
from edgecache.core.model import ByteSpan, ObjectKey
from edgecache.web.routing import Router
from edgecache.web.worker import Rest, Worker
from tests import serving
from tests.cluster import Cluster
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site

serve = serving.serve
KEY = "outputs/a.bin"
DATA = Pattern(3 * SLICE, seed=1)
pytestmark = pytest.mark.parametrize("serve", ["workers"], indirect=True)


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    """With an object that is whole in the cache, and known to both workers."""
    async with serve() as site:
        site.origin.put(KEY, DATA, etag="one")
        assert (await site.get(f"/{KEY}")).body == DATA.read()
        await site.idle()
        for _ in range(4):
            assert (await site.get(f"/{KEY}")).cache_status.startswith("edgecache; hit")
        yield site


def cluster(site: Site) -> Cluster:
    assert isinstance(site.server, Cluster)
    return site.server


async def test_hits_need_no_keeper(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for worker in cluster(site).workers:
        monkeypatch.setattr(worker._relay, "_patience", 0.01)
        worker._relay._keepers.close()
    for _ in range(4):
        assert (await site.get(f"/{KEY}")).body == DATA.read()
    missed = await site.get("/outputs/unknown.bin")
    assert missed.status == 503
    assert int(missed.headers["Retry-After"]) > 0


async def test_under_another_config_than_the_keepers_all_is_the_keepers(site: Site) -> None:
    shared = cluster(site).shared
    before = cluster(site).metrics.tally
    shared.config[0] += 1
    kept = [worker.metrics.total("http_requests_total") for worker in cluster(site).workers]
    for _ in range(4):
        assert (await site.get(f"/{KEY}")).body == DATA.read()
    assert cluster(site).metrics.tally is before
    assert [w.metrics.total("http_requests_total") for w in cluster(site).workers] == kept


async def test_what_it_used_the_keeper_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(
        site.server.store, "used", lambda key, count: told.append((key.number, count))
    )
    for worker in cluster(site).workers:
        await worker._tell_uses()
    assert {number for number, _ in told} == {0, 1, 2}
    told.clear()
    for worker in cluster(site).workers:
        await worker._tell_uses()
    assert told == []


@pytest.mark.parametrize("etag", ["two", "one"], ids=["another", "the same validator"])
async def test_the_rest_of_an_answer_is_of_the_same_version_or_none(site: Site, etag: str) -> None:
    worker = cluster(site).workers[0]
    stored = cluster(site).catalog.hit(ObjectKey("volume", KEY))
    assert stored is not None
    span = ByteSpan(SLICE - 10, SLICE + 10)
    assert await rest_of(site, worker, span) == DATA.read(SLICE - 10, SLICE + 10)
    site.origin.put(KEY, Pattern(3 * SLICE, seed=2), etag=etag)
    await cluster(site).catalog.purge(stored.meta.key)
    rest = Rest(worker._relay, router_of(site))
    with pytest.raises(VersionChanged):
        _ = [data async for data in rest.read(stored, span)]
    await cluster(site).catalog.purge(stored.meta.key)
    site.origin.remove(KEY)
    with pytest.raises(EdgecacheError):
        _ = [data async for data in rest.read(stored, span)]


def router_of(site: Site) -> Router:
    return Router(site.server.config)


async def rest_of(site: Site, worker: Worker, span: ByteSpan) -> bytes:
    stored = cluster(site).catalog.hit(ObjectKey("volume", KEY))
    assert stored is not None
    rest = Rest(worker._relay, router_of(site))
    return b"".join([bytes(data) async for data in rest.read(stored, span)])
