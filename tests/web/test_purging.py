"""Purged is gone: when the call returns nobody is served the old bytes, whatever was under way."""

import asyncio
import json
from typing import Any

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site

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


async def warm(site: Site, data: Pattern, etag: str = "one") -> None:
    site.origin.put(KEY, data, etag=etag)
    for _ in range(3):  # the last ones are hits, the first of them hot
        assert (await site.get(f"/{KEY}")).body == whole(data)
        await site.idle()


@pytest.mark.parametrize("asked", [{"key": KEY}, {"all": True}], ids=["key", "all"])
@pytest.mark.parametrize("old", [OLD, SMALL], ids=["slices", "hot"])
async def test_the_next_request_gets_what_the_origin_has_now(
    site: Site, asked: object, old: Pattern
) -> None:
    await warm(site, old)
    site.origin.put(KEY, NEW, etag="two")
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        assert (await wire.reply()).body == whole(old)
        await purged(site, asked)
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        assert (await wire.reply()).body == whole(NEW)


async def test_bytes_that_changed_under_their_etag_go_too(site: Site) -> None:
    await warm(site, OLD)
    changed = Pattern(OLD.length, seed=9)
    site.origin.put(KEY, changed, etag="one")
    await purged(site, {"key": KEY})
    assert (await site.get(f"/{KEY}")).body == whole(changed)


async def test_what_became_of_it_is_told(site: Site) -> None:
    await warm(site, OLD)
    assert await purged(site, {"key": "outputs/unknown.bin"}) == 0
    assert await purged(site, {"key": KEY}) == 1
    assert await purged(site, {"key": KEY}) == 0
    assert await purged(site, {"all": True}) == "all"
    assert site.server.store.slices == 0


async def test_it_is_gone_after_a_restart_too(serve: Serve) -> None:
    async with serve() as site:
        await warm(site, OLD)
        await purged(site, {"key": KEY})
        await site.restart()
        site.origin.reset()
        assert (await site.get(f"/{KEY}")).body == whole(OLD)
        assert site.origin.requests


@pytest.mark.parametrize("asked", [{"key": KEY}, {"all": True}], ids=["key", "all"])
async def test_a_fetch_that_was_running_does_not_bring_it_back(site: Site, asked: object) -> None:
    one, changed = Pattern(SLICE, seed=1), Pattern(SLICE, seed=9)
    site.origin.put(KEY, one, etag="one")
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        await gate.reached.wait()
        await purged(site, asked)
        site.origin.put(KEY, changed, etag="one")  # the same ETag: only the purge tells
        gate.release()
        assert (await wire.reply()).body == whole(one)
    await site.idle()
    assert (await site.get(f"/{KEY}")).body == whole(changed)


BAD = [
    pytest.param(b"{", 400, id="not JSON"),
    pytest.param({}, 400, id="nothing"),
    pytest.param({"key": 5}, 400, id="no text"),
    pytest.param({"key": "../a"}, 400, id="not a key"),
    pytest.param({"key": KEY, "soft": True}, 400, id="more than is known"),
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
    monkeypatch.setattr(site.server.store, "clear", refuse)
    site.origin.put(KEY, NEW, etag="two")
    for asked in ({"key": KEY}, {"all": True}):
        reply = await purge(site, asked)
        assert reply.status == 503
        assert "not purged for good" in reply.body.decode()
    assert site.server.generations.cells[0] % 2 == 1  # nobody may go by the disk
