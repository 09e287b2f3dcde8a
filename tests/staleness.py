"""An object that is stale, in front of an origin that can be told to fail."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site

serve = pytest.fixture(params=["memory", "disk", "workers"], name="serve")(serving.serving)
# Where hits take the fast path, which may not give what is stale.
on_every_path = serving.in_every_variant
# What is decided before there is a store or a worker.
decided_once = pytest.mark.parametrize("serve", ["memory"], indirect=True)

KEY = "outputs/a.png"
PATH = f"/{KEY}"
DATA = Pattern(3 * SLICE + 100, seed=1)
LIFETIME, BEHIND, IF_ERROR = 60, 30, 600
# A failure is what the origin says once: repetitions are another suite's, and so is the breaker.
ONCE = {"retries": 0, "breaker_failures": 1000}
SETTINGS = {"ttl": LIFETIME, "stale_while_revalidate": BEHIND, "stale_if_error": IF_ERROR}
FIRST_SLICE = {"Range": f"bytes=0-{SLICE - 1}"}


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(freshness=SETTINGS, fetch=ONCE) as site:
        yield site


async def known(site: Site, past: float = 0, cache_control: str = "", **headers: str) -> None:
    """The object is stored, and everywhere that a hit may come from; `past`: its lifetime, so many
    seconds ago."""
    fields = {"Cache-Control": cache_control} if cache_control else {}
    site.origin.put(KEY, DATA, etag="one", headers=fields | headers)
    for _ in range(3):
        await site.get(PATH)
        await site.idle()
    site.origin.reset()
    site.clock.advance(LIFETIME + past)


async def ask(site: Site, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    reply = await site.request(method, PATH, headers or {})
    await site.idle()
    return reply


async def tell(site: Site, path: str, asked: object) -> Any:
    """A POST to the admin port."""
    body = json.dumps(asked).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    async with site.connect(site.server.admin_url) as wire:
        await wire.send(serving.request_bytes("POST", path, fields) + body)
        reply = await wire.reply()
    assert reply.status == 200
    return json.loads(reply.body)


async def purge(site: Site, asked: Mapping[str, object]) -> None:
    await tell(site, "/api/purge", asked)


def is_stale(reply: Reply) -> bool:
    return "stale-" in reply.cache_status


def asked(site: Site) -> int:
    return len(site.origin.requests)


def assert_whole(reply: Reply) -> None:
    assert (reply.status, reply.headers["ETag"]) == (200, '"one"')
    assert reply.body == DATA.read()
