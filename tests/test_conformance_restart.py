"""What a new process knows of what the old one stored, and how a server starts and ends."""

import asyncio
import errno
import socket
from contextlib import suppress

import pytest

from edgecache.config import Config
from edgecache.core.errors import CannotStart, ConfigError
from edgecache.store.memory import MemoryStore
from edgecache.web import app
from edgecache.web.app import Server, start
from tests import serving
from tests.pattern import Pattern
from tests.runpod import RunPodOrigin
from tests.serving import SLICE, Serve, Site, in_every_variant, request_bytes
from tests.waiting import PATIENCE

serve = serving.serve_exactly
site = serving.site

PATH, KEY = "/outputs/a.mp4", "outputs/a.mp4"
DATA = Pattern(3 * SLICE + 5, seed=2)


@in_every_variant
async def test_the_cache_survives_a_restart(site: Site) -> None:
    site.origin.put(KEY, DATA, headers={"X-Own": "yes", "Cache-Control": "max-age=600"})
    before = await site.get(PATH)
    await site.idle()
    site.clock.advance(60)
    await site.restart()
    site.origin.reset()
    after = await site.get(PATH)
    assert after.body == DATA.read()
    assert after.cache_status == "edgecache; hit; ttl=540"
    assert after.headers["Age"] == "60"
    same = {"ETag", "Date", "Last-Modified", "Content-Type", "Cache-Control", "X-Own"}
    assert {name: after.headers[name] for name in same} == {n: before.headers[n] for n in same}
    part = await site.get(PATH, {"Range": "bytes=-5", "If-Range": before.headers["ETag"]})
    assert (part.status, part.body) == (206, DATA.read()[-5:])
    assert (await site.get(PATH, {"If-None-Match": before.headers["ETag"]})).status == 304
    assert site.origin.requests == []


@in_every_variant
async def test_what_was_stored_in_part_is_completed_after_a_restart(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await site.get(PATH, {"Range": f"bytes={SLICE}-{2 * SLICE - 1}"})
    await site.idle()
    await site.restart()
    site.origin.reset()
    reply = await site.get(PATH)
    assert reply.body == DATA.read()
    assert reply.cache_status.startswith("edgecache; fwd=partial;")
    await site.idle()
    assert site.origin.body_bytes == DATA.length - SLICE


@in_every_variant
async def test_what_went_stale_meanwhile_is_revalidated(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await site.get(PATH)
    await site.idle()
    await site.restart()
    site.clock.advance(3600)
    site.origin.reset()
    assert (await site.get(PATH)).cache_status.startswith("edgecache; fwd=stale; fwd-status=304")
    assert site.origin.body_bytes == 0
    # and what the revalidation said is stored, too
    await site.idle()
    await site.restart()
    site.origin.reset()
    assert (await site.get(PATH)).cache_status.startswith("edgecache; hit")
    assert site.origin.requests == []


@in_every_variant
async def test_a_replaced_version_does_not_come_back(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await site.get(PATH)
    site.origin.put(KEY, b"new")
    site.clock.advance(3600)
    assert (await site.get(PATH)).body == b"new"
    await site.idle()
    await site.restart()
    assert (await site.get(PATH)).body == b"new"


@in_every_variant
async def test_what_vanished_does_not_come_back(site: Site) -> None:
    site.origin.put(KEY, DATA)
    await site.get(PATH)
    site.origin.remove(KEY)
    site.clock.advance(3600)
    assert (await site.get(PATH)).status == 404
    await site.idle()
    await site.restart()
    assert (await site.get(PATH)).status == 404


# Start


def config(origin: RunPodOrigin, **sections: object) -> Config:
    settings: dict[str, object] = {
        "listen": {"host": "127.0.0.1", "port": 0},
        "admin": {"port": 0},
        "origins": {"volume": origin.settings},
        "log": {"access": "off"},
    }
    return Config(**(settings | sections))  # type: ignore[arg-type]


@pytest.mark.parametrize("section", ["listen", "admin"])
async def test_a_port_that_is_taken_is_told(runpod: RunPodOrigin, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        there = {"host": "127.0.0.1", "port": port}
        store = MemoryStore()
        server = Server(config(runpod, **{section: there}), store=store)
        with pytest.raises(CannotStart, match=f"{section}: cannot listen on 127.0.0.1:{port}: "):
            await server.start()
    assert len(server.tasks) == 0  # nothing is left running of a start that failed
    again = Server(config(runpod), store=store)
    await again.start()
    await again.close()


async def test_a_log_that_cannot_be_written_is_told(runpod: RunPodOrigin) -> None:
    server = Server(config(runpod, log={"access_file": "/dev/null/x"}), store=MemoryStore())
    with pytest.raises(ConfigError, match=r"log\.access_file: .*Errno " + str(errno.ENOTDIR)):
        await server.start()


@pytest.mark.parametrize(("host", "name"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")])
async def test_it_says_where_it_listens(runpod: RunPodOrigin, host: str, name: str) -> None:
    server = Server(config(runpod, listen={"host": host, "port": 0}), store=MemoryStore())
    await server.start()
    try:
        assert server.url.startswith(f"http://{name}:")
        assert server.admin_url.startswith("http://127.0.0.1:")
        _, writer = await asyncio.open_connection(name.strip("[]"), int(server.url.split(":")[-1]))
        writer.close()
    finally:
        await server.close()


async def test_start_takes_a_config_only(
    runpod: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "DiskStore", lambda *_, **__: MemoryStore())
    server = await start(config(runpod))
    assert server.url
    await server.close()


# End


async def refuses(site: Site) -> bool:
    with suppress(ConnectionResetError):  # it was waiting to be accepted
        try:
            async with site.connect():
                pass
        except ConnectionRefusedError:
            return True
    return False


async def test_a_running_answer_ends_before_the_server_does(serve: Serve) -> None:
    async with serve(listen={"drain_timeout": 10}) as site:
        site.origin.put(KEY, DATA)
        gate = site.origin.hold(after=SLICE // 2)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            answer = group.create_task(site.get(PATH))
            await gate.reached.wait()
            closing = group.create_task(site.server.close())
            while not await refuses(site):  # no new ones meanwhile
                pass
            assert not closing.done()
            gate.release()
        assert answer.result().body == DATA.read()


async def test_an_idle_connection_does_not_hold_up_the_end(serve: Serve) -> None:
    async with serve(listen={"drain_timeout": 10}) as site, site.connect() as wire:
        site.origin.put(KEY, DATA)
        await wire.send(request_bytes("GET", PATH))
        assert (await wire.reply()).status == 200
        async with asyncio.timeout(1):
            await site.server.close()
        assert await wire.rest() == b""


async def test_an_answer_that_does_not_end_is_cut_in_the_end(serve: Serve) -> None:
    async with serve(listen={"drain_timeout": 0.05}) as site, site.connect() as wire:
        site.origin.put(KEY, DATA)
        gate = site.origin.hold(after=SLICE // 2)
        await wire.send(request_bytes("GET", PATH))
        await gate.reached.wait()
        async with asyncio.timeout(2):
            await site.server.close()
        assert len(await wire.rest()) < DATA.length
        gate.release()
