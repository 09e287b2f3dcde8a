"""What the settings keep out of the cache is answered all the same, and with its own bytes."""

import asyncio
from pathlib import Path

from edgecache.config import Config
from edgecache.core.units import Share
from edgecache.store.memory import MemoryStore
from edgecache.store.space import size_on
from edgecache.web.app import Server
from edgecache.web.routing import admission
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, in_every_variant

serve = serving.serve_exactly

KEY = "outputs/large.mp4"
LARGE = Pattern(3 * SLICE + 5, seed=3)
SMALL = Pattern(2 * SLICE, seed=4)


@in_every_variant
async def test_objects_over_max_object_pass_through(serve: Serve) -> None:
    async with serve(cache={"max_object": 3 * SLICE}) as site:
        site.origin.put(KEY, LARGE)
        site.origin.put("outputs/small.mp4", SMALL)
        for _ in range(2):
            reply = await site.get(f"/{KEY}")
            assert reply.body == LARGE.read()
            assert "stored" not in reply.cache_status
            assert "hit" not in reply.cache_status
            await site.idle()
        part = await site.get(f"/{KEY}", {"Range": f"bytes={SLICE + 1}-{SLICE + 9}"})
        assert (part.status, part.body) == (206, LARGE.read(SLICE + 1, SLICE + 10))
        await site.idle()
        assert await site.metric("cache_slices") == 0
        assert "stored" in (await site.get("/outputs/small.mp4")).cache_status
        await site.idle()
        again = await site.get("/outputs/small.mp4")
        assert again.body == SMALL.read()
        assert again.cache_status.startswith("edgecache; hit")


async def test_what_passes_through_is_the_same_for_many_at_once(serve: Serve) -> None:
    async with serve(cache={"max_object": 1}) as site:
        site.origin.put(KEY, LARGE)
        gate = site.origin.hold(KEY)
        async with asyncio.TaskGroup() as clients:
            asking = [clients.create_task(site.get(f"/{KEY}")) for _ in range(10)]
            await site.looked_up()
            gate.release()
        assert {one.result().body for one in asking} == {LARGE.read()}


ORIGIN = {"endpoint": "http://127.0.0.1:9", "bucket": "b"}


def config(**sections: object) -> Config:
    return Config(**{"origins": {"main": ORIGIN}, "admin": {"port": 0}} | sections)  # type: ignore[arg-type]


async def test_a_reload_changes_what_is_admitted() -> None:
    store = MemoryStore()
    server = Server(config(listen={"host": "127.0.0.1", "port": 0}), store=store)
    await server.start()
    assert store.admission == admission(server.config)
    other = config(cache={"admit": "wear"}, routes=[{"pin": ["outputs/logo"]}])
    await server.reload(other)
    assert store.admission == admission(other)
    assert [(pin.origin, pin.key) for pin in store.admission.pins] == [("main", "outputs/logo")]
    await server.close()


def test_a_size_may_be_a_share_of_the_disk(tmp_path: Path) -> None:
    server = Server(config(cache={"size": "1%", "dir": tmp_path / "cache"}))
    assert server.store.limit == size_on(tmp_path, Share(0.01)) > 0
