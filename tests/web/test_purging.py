"""Purged is gone: when the call returns nobody is served the old bytes, whatever was under way."""

import asyncio
import json
from typing import Any

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site
from tests.waiting import until

serve = serving.serve_exactly
site = serving.site

KEY = "outputs/a.bin"
OLD, NEW = Pattern(3 * SLICE, seed=1), Pattern(2 * SLICE, seed=2)
SMALL = Pattern(500, seed=3)


async def purge(site: Site, asked: object, **headers: str) -> Reply:
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
    async with site.connect(site.server.admin_url) as wire:
        await wire.send(serving.request_bytes("POST", "/api/purge", fields) + body)
        return await wire.reply()


async def purged(site: Site, asked: object) -> Any:
    reply = await purge(site, asked)
    assert reply.status == 200
    return json.loads(reply.body)["purged"]


def whole(pattern: Pattern) -> bytes:
    return pattern.read(0, pattern.length)


def put(site: Site, data: Pattern, etag: str) -> None:
    site.origin.put(KEY, data, etag=etag, headers={"Cache-Tag": "dog, cat"})


async def swept(site: Site) -> None:
    """Until nothing is left to be cleared up."""
    await until(lambda: not site.server.store.marks)


async def warm(site: Site, data: Pattern, etag: str = "one") -> None:
    put(site, data, etag)
    for _ in range(3):  # the last ones are hits, the first of them hot
        assert (await site.get(f"/{KEY}")).body == whole(data)
        await site.idle()


EACH = [
    pytest.param(asked, id=str(next(iter(asked))))
    for asked in ({"key": KEY}, {"all": True}, {"prefix": "outputs/"}, {"tag": "Cat"})
]


@pytest.mark.parametrize("asked", EACH)
@pytest.mark.parametrize("old", [OLD, SMALL], ids=["slices", "hot"])
async def test_the_next_request_gets_what_the_origin_has_now(
    site: Site, asked: dict[str, object], old: Pattern
) -> None:
    await warm(site, old)
    site.origin.put(KEY, NEW, etag="two")
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        assert (await wire.reply()).body == whole(old)
        await purged(site, asked)
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        assert (await wire.reply()).body == whole(NEW)


@pytest.mark.parametrize("asked", EACH)
async def test_bytes_that_changed_under_their_etag_go_too(
    site: Site, asked: dict[str, object]
) -> None:
    await warm(site, OLD)
    changed = Pattern(OLD.length, seed=9)
    put(site, changed, etag="one")
    await purged(site, asked)
    for _ in range(3):
        assert (await site.get(f"/{KEY}")).body == whole(changed)
        await site.idle()
    await swept(site)
    assert (await site.get(f"/{KEY}")).body == whole(changed)


@pytest.mark.parametrize("asked", EACH)
async def test_soft_is_revalidated_and_keeps_its_bytes(
    site: Site, asked: dict[str, object]
) -> None:
    await warm(site, OLD)
    site.origin.reset()
    await purged(site, {**asked, "soft": True})
    await swept(site)
    reply = await site.get(f"/{KEY}")
    assert reply.body == whole(OLD)
    assert "fwd=stale" in reply.cache_status
    assert [request.status for request in site.origin.requests] == [304]
    await site.idle()
    assert "hit" in (await site.get(f"/{KEY}")).cache_status
    assert len(site.origin.requests) == 1


@pytest.mark.parametrize("asked", EACH)
async def test_soft_finds_what_is_new(site: Site, asked: dict[str, object]) -> None:
    await warm(site, OLD)
    put(site, NEW, etag="two")
    await purged(site, {**asked, "soft": True})
    assert (await site.get(f"/{KEY}")).body == whole(NEW)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize(
    "asked",
    [
        {"key": "outputs/b.bin"},
        {"prefix": "outputs/a.bin/"},
        {"prefix": "outputs/A"},
        {"tag": "ca"},
        {"tag": "cat dog"},
    ],
)
async def test_what_is_not_meant_stays(site: Site, asked: dict[str, object], soft: bool) -> None:
    await warm(site, OLD)
    site.origin.reset()
    await purged(site, {**asked, "soft": soft})
    await swept(site)
    assert "hit" in (await site.get(f"/{KEY}")).cache_status
    assert site.origin.requests == []


@pytest.mark.parametrize("field", ["Cache-Tag", "Surrogate-Key", "x-amz-meta-cache-tag"])
async def test_tags_are_not_passed_on(site: Site, field: str) -> None:
    site.origin.put(KEY, SMALL, etag="one", headers={field: "cat"})
    assert field not in (await site.get(f"/{KEY}")).headers
    await site.idle()
    assert field not in (await site.get(f"/{KEY}")).headers
    await purged(site, {"tag": "cat"})
    assert "hit" not in (await site.get(f"/{KEY}")).cache_status


async def test_a_route_has_tags_of_its_own(serve: Serve) -> None:
    routes = [{"path": "/"}, {"path": "/outputs/", "tags": ["Media"]}]
    async with serve(routes=routes) as site:
        await warm(site, SMALL)
        await purged(site, {"tag": "media"})
        assert "hit" not in (await site.get(f"/{KEY}")).cache_status


@pytest.mark.parametrize("asked", EACH)
async def test_a_dry_run_tells_and_changes_nothing(site: Site, asked: dict[str, object]) -> None:
    await warm(site, OLD)
    site.origin.reset()
    reply = await purge(site, {**asked, "dry_run": True})
    assert reply.status == 200
    assert json.loads(reply.body) == {
        "would_purge": {"objects": 1, "bytes": OLD.length, "keys": [KEY]}
    }
    assert "hit" in (await site.get(f"/{KEY}")).cache_status
    assert site.origin.requests == []
    await purged(site, asked)
    reply = await purge(site, {**asked, "dry_run": True})
    assert json.loads(reply.body)["would_purge"]["objects"] == 0


@pytest.mark.parametrize("asked", EACH)
async def test_a_missing_object_that_is_there_now_is_found(
    site: Site, asked: dict[str, object]
) -> None:
    assert (await site.get(f"/{KEY}")).status == 404
    put(site, NEW, etag="two")
    await purged(site, asked)
    assert (await site.get(f"/{KEY}")).status == 200


async def test_what_became_of_it_is_told(site: Site) -> None:
    await warm(site, OLD)
    assert await purged(site, {"key": "outputs/unknown.bin"}) == 0
    assert await purged(site, {"key": KEY}) == 1
    assert await purged(site, {"key": KEY}) == 0
    assert await purged(site, {"all": True}) == "all"
    await swept(site)
    assert site.server.store.slices == 0


@pytest.mark.parametrize("asked", EACH)
async def test_it_is_gone_after_a_restart_too(serve: Serve, asked: dict[str, object]) -> None:
    async with serve() as site:
        await warm(site, OLD)
        await purged(site, asked)
        await site.restart()
        site.origin.reset()
        assert (await site.get(f"/{KEY}")).body == whole(OLD)
        assert site.origin.requests


@pytest.mark.parametrize("asked", EACH)
async def test_a_fetch_that_was_running_does_not_bring_it_back(site: Site, asked: object) -> None:
    one, changed = Pattern(SLICE, seed=1), Pattern(SLICE, seed=9)
    put(site, one, etag="one")
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        await gate.reached.wait()
        await purged(site, asked)
        put(site, changed, etag="one")  # the same ETag: only the purge tells
        gate.release()
        assert (await wire.reply()).body == whole(one)
    await site.idle()
    assert (await site.get(f"/{KEY}")).body == whole(changed)


BAD = [
    pytest.param(b"{", 400, id="not JSON"),
    pytest.param({}, 400, id="nothing"),
    pytest.param({"key": 5}, 400, id="no text"),
    pytest.param({"key": "../a"}, 400, id="not a key"),
    pytest.param({"key": KEY, "sfot": True}, 400, id="more than is known"),
    pytest.param({"key": KEY, "all": True}, 400, id="two things"),
    pytest.param({"key": KEY, "soft": "yes"}, 400, id="soft is no text"),
    pytest.param({"key": KEY, "origin": "other"}, 400, id="no such origin"),
    pytest.param({"key": KEY, "origin": 5}, 400, id="an origin is text"),
    pytest.param({"prefix": ""}, 400, id="an empty prefix"),
    pytest.param({"prefix": "/outputs/"}, 400, id="a path, not a prefix"),
    pytest.param({"prefix": "outputs/\n"}, 400, id="no key begins so"),
    pytest.param({"prefix": "o" * 1025}, 400, id="a prefix longer than keys"),
    pytest.param({"tag": 'a"b'}, 400, id="no tag"),
    pytest.param({"all": False}, 400, id="not all"),
    pytest.param([KEY], 400, id="a list"),
]


@pytest.mark.parametrize(("asked", "status"), BAD)
async def test_what_is_not_understood_purges_nothing(
    site: Site, asked: object, status: int
) -> None:
    await warm(site, SMALL)
    reply = await purge(site, asked)
    assert reply.status == status
    assert json.loads(reply.body)["error"]["message"]
    site.origin.reset()
    await site.get(f"/{KEY}")
    assert site.origin.requests == []


async def test_a_form_of_a_web_page_purges_nothing(site: Site) -> None:
    await warm(site, SMALL)
    reply = await purge(site, {"all": True}, **{"Content-Type": "text/plain"})
    assert reply.status == 415


async def test_a_purge_needs_the_token(serve: Serve) -> None:
    async with serve(admin={"port": 0, "token": "t0ken"}) as site:
        assert (await purge(site, {"all": True})).status == 401
        allowed = await purge(site, {"all": True}, Authorization="Bearer t0ken")
        assert allowed.status == 200


async def test_a_purge_that_the_disk_refuses_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await warm(site, SMALL)

    async def refuse(*_: object) -> bool:
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(site.server.store, "remove_meta", refuse)
    monkeypatch.setattr(site.server.store, "save_mark", refuse)
    site.origin.put(KEY, NEW, etag="two")
    for asked in ({"key": KEY}, {"all": True}, {"prefix": "outputs/"}, {"tag": "cat"}):
        reply = await purge(site, asked)
        assert reply.status == 503
        assert "not purged for good" in reply.body.decode()
    assert site.server.generations.cells[0] % 2 == 1  # nobody may go by the disk
