"""Warmed is there: the next viewer's bytes come from the cache; and viewers go first."""

import asyncio
import json
from typing import Any

import pytest

from tests import serving
from tests.faults import Error
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site
from tests.waiting import until

serve = serving.serve_exactly
site = serving.site

KEY = "outputs/a.bin"
DATA = Pattern(9 * SLICE + 100, seed=1)
SMALL = Pattern(500, seed=2)


async def ask(site: Site, asked: object, **headers: str) -> Reply:
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
    async with site.connect(site.server.admin_url) as wire:
        await wire.send(serving.request_bytes("POST", "/api/warm", fields) + body)
        return await wire.reply()


async def warm(site: Site, key: str = KEY, *, limit: int = 2**40, **more: str) -> tuple[str, int]:
    """The result and the bytes of one object."""
    reply = await ask(site, {"objects": [{"key": key, **more}], "limit": limit})
    assert reply.status == 200, reply.body
    (answer,) = json.loads(reply.body)["objects"]
    assert answer["key"] == key
    return answer["result"], answer["bytes"]


def bought(site: Site) -> int:
    """Body bytes of objects, those of error answers left out."""
    return sum(request.sent for request in site.origin.requests if request.status < 400)


def whole(data: Pattern) -> bytes:
    return data.read(0, data.length)


@pytest.mark.parametrize("data", [DATA, SMALL, Pattern(0)], ids=["slices", "small", "empty"])
async def test_what_was_warmed_is_a_hit(site: Site, data: Pattern) -> None:
    site.origin.put(KEY, data)
    assert await warm(site) == ("stored", data.length)
    assert bought(site) == data.length  # bought once
    site.origin.reset()
    reply = await site.get(f"/{KEY}")
    assert reply.body == whole(data)
    assert "hit" in reply.cache_status
    assert await warm(site) == ("hit", 0)
    assert site.origin.requests == []


async def test_it_is_bought_to_be_warm_and_no_client_byte(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await warm(site)
    await site.idle()
    assert await site.metric("origin_body_bytes_total", reason="warm") == DATA.length
    assert await site.metric("origin_body_bytes_total") == DATA.length
    assert await site.metric("client_body_bytes_total") == 0
    assert await site.metric("http_requests_total") == 0


async def test_only_what_a_range_touches_is_bought(site: Site) -> None:
    site.origin.put(KEY, DATA)
    asked = f"bytes={2 * SLICE + 5}-{3 * SLICE + 5}, {6 * SLICE}-{6 * SLICE}"
    assert await warm(site, range=asked) == ("stored", 3 * SLICE)
    assert await warm(site, range=f"bytes={2 * SLICE}-{4 * SLICE - 1}") == ("hit", 0)
    assert await warm(site, range="bytes=-1") == ("stored", 100)
    await site.idle()
    assert bought(site) <= 4 * SLICE + 101  # the probe of the first answer's length


async def test_what_is_there_is_not_bought_again(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await site.get(f"/{KEY}", {"Range": f"bytes=0-{4 * SLICE - 1}"})
    await site.idle()
    site.origin.reset()
    assert await warm(site) == ("stored", DATA.length - 4 * SLICE)
    assert bought(site) == DATA.length - 4 * SLICE


async def test_what_is_stale_is_revalidated(serve: Serve) -> None:
    async with serve(freshness={"ttl": 60}) as site:
        site.origin.put(KEY, DATA, etag="one")
        await warm(site)
        site.clock.advance(61)
        site.origin.reset()
        assert await warm(site) == ("revalidated", 0)
        assert [request.status for request in site.origin.requests] == [304]
        site.clock.advance(61)
        site.origin.put(KEY, SMALL, etag="two")
        assert await warm(site) == ("stored", SMALL.length)
        assert (await site.get(f"/{KEY}")).body == whole(SMALL)


async def test_a_limit_is_kept_to_a_run(site: Site) -> None:
    """Asked again and again it gets there, and buys nothing twice."""
    site.origin.put(KEY, DATA)
    results: list[str] = []
    total = 0
    while not results or results[-1] == "more":
        result, count = await warm(site, limit=1)
        assert count <= 5 * SLICE  # the origin's first answer, and a run
        results.append(result)
        total += count
    assert results[-1] == "stored"
    assert len(results) > 2
    assert total == DATA.length
    await site.idle()
    assert bought(site) == DATA.length


async def test_a_fill_that_runs_is_joined(site: Site) -> None:
    site.origin.put(KEY, Pattern(SLICE, seed=1))
    gate = site.origin.hold(KEY, after=SLICE // 2)
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        await gate.reached.wait()
        warming = asyncio.ensure_future(warm(site))  # noqa: TID251
        await site.looked_up()
        gate.release()
        assert (await wire.reply()).status == 200
        assert (await warming)[0] in ("stored", "hit")
    await site.idle()
    assert bought(site) == SLICE


async def test_why_it_is_not_there_is_told(serve: Serve) -> None:
    async with serve() as site:
        site.origin.put(KEY, SMALL, headers={"Cache-Control": "no-store"})
        site.origin.put("outputs/c.bin", SMALL)
        assert (await warm(site))[0] == "not-storable"
        assert (await warm(site))[0] == "not-storable"
        assert await warm(site, "outputs/none.bin") == ("not-found", 0)
        assert await warm(site, "../a") == ("bad-key", 0)
        assert await warm(site, origin="nobody's") == ("bad-key", 0)
        assert await warm(site, range="words=1-2") == ("bad-range", 0)
        assert await warm(site, "outputs/c.bin", range="bytes=600-") == ("bad-range", 0)
        site.origin.fault(Error(500), key="outputs/d.bin", times=None)
        assert (await warm(site, "outputs/d.bin"))[0] == "error"


async def test_what_is_not_public_may_be_warmed(site: Site) -> None:
    site.origin.put("private/a.bin", SMALL)
    assert await warm(site, "private/a.bin") == ("stored", SMALL.length)
    assert (await site.get("/private/a.bin")).status == 403


async def test_it_answers_in_time_and_goes_on_where_it_was(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecache.web.warming.PATIENCE", 0.2)
    async with serve() as site:
        site.origin.put(KEY, DATA)
        gate = site.origin.hold(KEY, after=SLICE // 2)
        assert await warm(site) == ("more", 0)
        gate.release()
        await until(lambda: site.origin.active == 0)
        result = await warm(site)
        while result[0] == "more":
            result = await warm(site)
        assert result[0] == "stored"
        await site.idle()
        assert bought(site) <= DATA.length + 4 * SLICE


async def test_several_at_once(site: Site) -> None:
    site.origin.put(KEY, DATA)
    objects = [{"key": KEY}, {"key": "outputs/none"}, {"key": KEY, "range": "bytes=0-0"}]
    reply = await ask(site, {"objects": objects})
    results = [answer["result"] for answer in json.loads(reply.body)["objects"]]
    assert results == ["stored", "not-found", "hit"]


async def test_after_a_reload_it_goes_by_the_new_config(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await site.server.reload(site.server.config)
    assert await warm(site) == ("stored", DATA.length)


BAD: list[Any] = [
    b"{",
    {},
    [],
    {"objects": []},
    {"objects": [{"key": KEY}] * 101},
    {"objects": [{"key": 5}]},
    {"objects": [{"range": "bytes=0-1"}]},
    {"objects": [{"key": KEY, "whole": "yes"}]},
    {"objects": [KEY]},
    {"objects": [{"key": KEY}], "limit": 0},
    {"objects": [{"key": KEY}], "limit": True},
    {"objects": [{"key": KEY}], "evict": 1},
    {"objects": [{"key": KEY}], "soft": True},
]


@pytest.mark.parametrize("asked", BAD, ids=str)
async def test_what_is_not_understood_warms_nothing(site: Site, asked: object) -> None:
    site.origin.put(KEY, SMALL)
    reply = await ask(site, asked)
    assert reply.status == 400
    assert "objects" in json.loads(reply.body)["error"]["message"]
    assert site.origin.requests == []


async def test_a_form_of_a_web_page_warms_nothing(site: Site) -> None:
    reply = await ask(site, {"objects": [{"key": KEY}]}, **{"Content-Type": "text/plain"})
    assert reply.status == 415
