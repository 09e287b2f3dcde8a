"""What is told of an object is what a client then gets, and what was bought and given before."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.web import explaining
from tests import serving
from tests.cluster import Cluster
from tests.faults import Error
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site
from tests.waiting import PATIENCE

serve = pytest.fixture(params=["memory", "workers"], name="serve")(serving.serving)
# The fast path too.
on_every_path = pytest.mark.parametrize("serve", serving.EXACT, indirect=True)
site = serving.site

KEY = "outputs/clip.bin"
CLIP = Pattern(4 * SLICE + 10, seed=1)
SMALL = Pattern(500, seed=2)


async def asked(site: Site, query: str, **headers: str) -> Reply:
    async with site.connect(site.server.admin_url) as wire:
        await wire.send(serving.request_bytes("GET", f"/api/explain{query}", headers))
        return await wire.reply()


async def explained(site: Site, key: str = KEY, query: str = "") -> Any:
    reply = await asked(site, f"?key={quote(key, safe='')}{query}")
    assert reply.status == 200
    return json.loads(reply.body)


async def settled(site: Site, **account: int) -> Any:
    """The explanation once the workers have told what they gave."""
    async with asyncio.timeout(PATIENCE):
        while True:
            facts = await explained(site)
            if account.items() <= facts["account"].items():
                return facts
            await asyncio.sleep(0.05)


async def test_what_nobody_asked_for(site: Site) -> None:
    facts = await explained(site)
    since = facts["account"].pop("since")
    assert since.endswith("Z")
    assert facts == {
        "key": KEY,
        "origin": "volume",
        "route": "/",
        "access": "public",
        "why": "",
        "known": "unknown",
        "account": dict.fromkeys(("bought", "served", "answers", "hits", "last_use")),
        "purge": None,
        "now": {"status": None, "cache_status": "edgecache; fwd=uri-miss"},
    }
    assert site.origin.requests == []


async def test_a_stored_object(site: Site) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    await site.get(f"/{KEY}", {"Range": f"bytes=0-{SLICE + 5}"})
    await site.idle()
    facts = await explained(site)
    assert (facts["known"], facts["not_admitted"], facts["fills"]) == ("stored", "", [])
    assert facts["response"]["etag"] == '"one"'
    assert facts["response"]["length"] == CLIP.length
    assert facts["freshness"] == {
        "fresh": True,
        "lifetime": 3600.0,
        "age": 0.0,
        "ttl": 3600.0,
        "why": "the origin does not say: routes[].ttl, else freshness.ttl",
        "stale_while_revalidate": 0,
        "stale_if_error": 0,
        "why_not_stale": "",
    }
    assert facts["slices"] == {
        "present": 2,
        "of": 5,
        "looked_at": 5,
        "numbers": "0-1",
        "bytes": 2 * SLICE,
        "slice_size": SLICE,
    }


@pytest.mark.parametrize("first", ["bytes=0-9", f"bytes={SLICE}-", "bytes=0-"])
async def test_what_a_client_would_get_is_what_it_gets(site: Site, first: str) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    await site.get(f"/{KEY}", {"Range": first})
    await site.idle()
    told = (await explained(site))["now"]
    reply = await site.get(f"/{KEY}")
    assert (told["status"], told["cache_status"]) == (reply.status, reply.cache_status)


@on_every_path
async def test_bought_and_given(site: Site) -> None:
    """Bytes of every path: the fill, the disk, the hot table, a short range."""
    site.origin.put(KEY, SMALL, etag="one")
    for _ in range(4):
        await site.get(f"/{KEY}")
        await site.idle()
    await site.get(f"/{KEY}", {"Range": "bytes=0-99"})
    await site.get(f"/{KEY}", {"If-None-Match": '"one"'})  # gives no bytes
    facts = await settled(site, served=4 * SMALL.length + 100)
    account = facts["account"]
    assert (account["bought"], account["answers"], account["hits"]) == (SMALL.length, 5, 4)
    assert account["last_use"] is not None


@on_every_path
async def test_a_long_answer_is_counted_once(site: Site) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    for _ in range(3):
        assert (await site.get(f"/{KEY}")).body == CLIP.read()
        await site.idle()
    account = (await settled(site, served=3 * CLIP.length))["account"]
    assert (account["bought"], account["answers"], account["hits"]) == (CLIP.length, 3, 2)


@pytest.mark.parametrize("serve", ["workers"], indirect=True)
async def test_what_workers_gave_outlives_them_but_for_the_last_second(serve: Serve) -> None:
    async with serve() as site:
        assert isinstance(site.server, Cluster)
        site.origin.put(KEY, SMALL, etag="one")
        for _ in range(4):
            await site.get(f"/{KEY}")
            await site.idle()
        for worker in site.server.workers:
            await worker.close()  # which tells at once
        assert (await explained(site))["account"]["served"] == 4 * SMALL.length


async def test_a_huge_object_is_looked_at_in_parts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    await site.get(f"/{KEY}")
    await site.idle()
    monkeypatch.setattr(explaining, "AT_A_TIME", 2)
    assert (await explained(site))["slices"]["numbers"] == "0-4"
    monkeypatch.setattr(explaining, "MOST_LOOKED_AT", 3)
    slices = (await explained(site))["slices"]
    assert (slices["numbers"], slices["looked_at"], slices["of"]) == ("0-2", 3, 5)


async def test_a_stale_object(site: Site) -> None:
    site.origin.put(KEY, SMALL, etag="one", headers={"Cache-Control": "max-age=10"})
    await site.get(f"/{KEY}")
    await site.idle()
    site.clock.advance(15)
    facts = await explained(site)
    assert facts["freshness"]["fresh"] is False
    assert facts["freshness"]["why"] == "Cache-Control: max-age=10"
    assert facts["now"] == {"status": None, "cache_status": "edgecache; fwd=stale; ttl=-5"}
    assert len(site.origin.requests) == 1


STALE = {"ttl": 60, "stale_while_revalidate": 30, "stale_if_error": 600}


@pytest.mark.parametrize("first", ["bytes=0-9", "bytes=0-"])
@pytest.mark.parametrize("seconds", [61, 91, 700])
async def test_what_a_client_would_get_of_a_stale_object_is_what_it_gets(
    serve: Serve, first: str, seconds: int
) -> None:
    async with serve(freshness=STALE) as site:
        site.origin.put(KEY, CLIP, etag="one")
        await site.get(f"/{KEY}", {"Range": first})
        await site.get(f"/{KEY}", {"Range": first})
        await site.idle()
        site.origin.reset()
        site.clock.advance(seconds)
        facts = await explained(site)
        now = facts["now"]
        assert facts["freshness"]["stale_while_revalidate"] == 30
        assert site.origin.requests == []
        site.origin.fault(Error(500), times=None)
        reply = await site.get(f"/{KEY}")
        if now["status"] is None:
            assert reply.status == now.get("if_error", 502)
            assert now["cache_status"].startswith("edgecache; fwd=stale; ttl=-")
        else:
            told = (now["status"], now["cache_status"])
            assert told == (reply.status, reply.cache_status)
        await site.idle()


async def test_a_missing_object(site: Site) -> None:
    reply = await site.get(f"/{KEY}")
    facts = await explained(site)
    assert facts["known"] == "missing"
    assert facts["until"] > facts["account"]["since"]
    assert facts["now"]["status"] == reply.status == 404
    assert facts["now"]["cache_status"] == (await site.get(f"/{KEY}")).cache_status


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"Cache-Control": "no-store"}, "no-store"),
        ({"Cache-Control": "private"}, "private"),
        ({"Vary": "Accept"}, "vary"),
    ],
)
async def test_why_an_object_is_not_stored(site: Site, fields: dict[str, str], why: str) -> None:
    site.origin.put(KEY, SMALL, etag="one", headers=fields)
    await site.get(f"/{KEY}")
    facts = await explained(site)
    assert (facts["known"], facts["not_stored"]) == ("uncacheable", why)
    assert facts["now"]["cache_status"] == "edgecache; fwd=bypass"
    assert (await settled(site, served=SMALL.length))["account"]["hits"] == 0


async def test_a_private_object(site: Site) -> None:
    facts = await explained(site, "models/secret.bin")
    assert facts["access"] == "private"
    assert "access.public" in facts["why"]
    assert facts["now"]["status"] == (await site.get("/models/secret.bin")).status == 403


@pytest.mark.parametrize("key", ["outputs//a", "outputs/../a", "outputs/", "/%zz"])
async def test_a_refused_key(site: Site, key: str) -> None:
    facts = await explained(site, key)
    assert facts["access"] == "refused"
    reply = await site.get(key if key.startswith("/") else f"/{key}")
    assert (reply.status, reply.body.decode().strip()) == (400, facts["why"])


@pytest.mark.parametrize(
    "target", [f"/{KEY}", f"/volume-1/{KEY}", f"/api/media/s3/workspace/{KEY}"]
)
async def test_a_target_as_clients_send_it(serve: Serve, target: str) -> None:
    async with serve(origin={"bucket": "volume-1"}) as site:
        facts = await explained(site, target)
        assert (facts["key"], facts["origin"]) == (KEY, "volume")


async def test_an_origin_may_be_named(site: Site) -> None:
    assert (await explained(site, query="&origin=volume"))["origin"] == "volume"
    reply = await asked(site, f"?key={KEY}&origin=other")
    assert reply.status == 400
    assert "there are: volume" in json.loads(reply.body)["error"]["message"]


@pytest.mark.parametrize("query", ["", "?key=", "?key=a&orign=b", "?origin=volume"])
async def test_what_is_not_understood(site: Site, query: str) -> None:
    reply = await asked(site, query)
    assert reply.status == 400
    assert "key=" in json.loads(reply.body)["error"]["message"]


async def purge(site: Site, asked: dict[str, Any]) -> None:
    data = json.dumps(asked).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    async with site.connect(site.server.admin_url) as wire:
        await wire.send(serving.request_bytes("POST", "/api/purge", fields) + data)
        assert (await wire.reply()).status == 200


@pytest.mark.parametrize(
    ("target", "others_too"),
    [({"key": KEY}, False), ({"prefix": "outputs/"}, True), ({"all": True}, True)],
    ids=["key", "prefix", "all"],
)
async def test_the_last_purge(site: Site, target: dict[str, Any], others_too: bool) -> None:
    site.origin.put(KEY, SMALL, etag="one")
    await site.get(f"/{KEY}")
    await site.idle()
    await purge(site, target)
    facts = await explained(site)
    assert facts["known"] == "unknown"
    assert (facts["purge"]["by"], facts["purge"]["soft"]) == (next(iter(target)), False)
    assert bool((await explained(site, "outputs/other"))["purge"]) == others_too


async def test_a_soft_purge_by_tag(site: Site) -> None:
    site.origin.put(KEY, SMALL, etag="one", headers={"Cache-Tag": "cat"})
    await site.get(f"/{KEY}")
    await site.idle()
    await purge(site, {"tag": "cat", "soft": True})
    facts = await explained(site)
    assert facts["response"]["tags"] == ["cat"]
    assert (facts["purge"]["what"], facts["purge"]["soft"]) == ("cat", True)
    assert facts["freshness"]["why"] == "purged softly: revalidated at the next use"
    assert facts["now"]["cache_status"].startswith("edgecache; fwd=stale")


async def test_a_fill_under_way(site: Site) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        await gate.reached.wait()
        facts = await explained(site)
        assert facts["fills"] == [{"slices": "0", "readers": 1}]
        assert facts["slices"]["present"] == 0
        assert facts["not_admitted"]
        gate.release()
        assert (await wire.reply()).body == CLIP.read()


async def test_it_needs_the_token(serve: Serve) -> None:
    async with serve(admin={"port": 0, "token": "t0ken"}) as site:
        assert (await asked(site, f"?key={KEY}")).status == 401
        reply = await asked(site, f"?key={KEY}", Authorization="Bearer t0ken")
        assert reply.status == 200
        for secret in site.origin.settings.values():
            assert "key" in str(secret) or str(secret) not in reply.body.decode()


class Policy:
    """What settings of admission and the policy tell, as the store has them."""

    wear = True

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def is_too_large(self, meta: ObjectMeta) -> bool:
        return meta.length > self.largest

    def is_pinned(self, key: ObjectKey) -> bool:
        return key.key == KEY


async def test_why_nothing_is_stored_of_what_may_be(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.origin.put(KEY, SMALL, etag="one")
    store = site.server.store
    await site.get(f"/{KEY}", {"If-None-Match": '"one"'})  # of which no byte is needed
    await site.idle()
    assert "nothing of it was read" in (await explained(site))["not_admitted"]
    monkeypatch.setattr(store, "admission", Policy(SMALL.length), raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "limit", property(lambda _: SLICE - 1), raising=False)
        assert "no room" in (await explained(site))["not_admitted"]
    facts = await explained(site)
    assert "cache.admit is wear" in facts["not_admitted"]
    assert facts["popularity"]["pinned"] is True
    monkeypatch.setattr(store, "admission", Policy(SMALL.length - 1), raising=False)
    assert (await explained(site))["not_admitted"] == "larger than cache.max_object"
    monkeypatch.setattr(store, "trouble", lambda: "No space left on device")
    assert (await explained(site))["not_admitted"] == "disk trouble: No space left on device"


@dataclass(frozen=True)
class Popularity:
    count: int
    priority: float


async def test_how_popular_its_slices_are(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    await site.get(f"/{KEY}")
    await site.idle()

    def popularity(key: SliceKey) -> Popularity | None:
        return Popularity(key.number, key.number / 2) if key.number else None

    monkeypatch.setattr(site.server.store, "popularity", popularity, raising=False)
    assert (await explained(site))["popularity"] == {
        "slices": 4,
        "count": 4,
        "least_priority": 0.5,
        "most_priority": 2.0,
        "pinned": False,
    }
