"""A service that was replaced goes once its answers have ended, or its time is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import ClassVar

import pytest

from edgecache.core.model import Warmed
from edgecache.warm import Outcome, Warmer
from edgecache.web import service
from edgecache.web.app import Server
from edgecache.web.service import Service
from tests import serving
from tests.faults import Error
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.staleness import tell
from tests.waiting import until

serve = serving.serve
site = serving.site
KEY = "outputs/a.bin"


class Watched:
    """A service; `closed` once it is asked to close."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = service
        self.closed = asyncio.Event()
        monkeypatch.setattr(service, "close", self._close)

    async def _close(self) -> None:
        self.closed.set()


class Running(int):
    """A number of answers, which counts how often somebody looked whether there are any."""

    looks: ClassVar = 0

    def __bool__(self) -> bool:
        Running.looks += 1
        return self != 0


def of(server: Server) -> Service:
    return server._service


@pytest.fixture
async def replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """That of a server which got another config in the middle of an answer."""
    monkeypatch.setattr(service, "LOOK_EVERY", 0.001)
    site.origin.put(KEY, Pattern(2 * SLICE))
    gate = site.origin.hold(KEY, after=10)
    before = of(site.server)
    watched = Watched(before, monkeypatch)
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", f"/{KEY}"))
        await gate.reached.wait()
        await site.server.reload(site.server.config)
        assert of(site.server) is not before
        yield watched
        gate.release()
        assert (await wire.reply()).body == Pattern(2 * SLICE).read()
    await Service.close(before)


async def test_it_stays_while_it_answers(
    replaced: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = replaced.service.delivery
    assert delivery.running == 1
    monkeypatch.setattr(delivery, "running", Running(delivery.running))
    monkeypatch.setattr(Running, "looks", 0)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(replaced.service.retire(1000))
        await until(lambda: Running.looks >= 3)
        assert not replaced.closed.is_set()
        with monkeypatch.context() as ended:  # as if it had
            ended.setattr(replaced.service.delivery, "running", 0)
            ended.setattr(replaced.service.origins, "reading", 0)
            await replaced.closed.wait()


async def test_and_while_it_asks_for_what_nobody_waits_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revalidation behind an answer that has been given."""
    monkeypatch.setattr(service, "LOOK_EVERY", 0.001)
    async with serve(freshness={"ttl": 60, "stale_while_revalidate": 600}) as site:
        site.origin.put(KEY, Pattern(SLICE))
        await site.get(f"/{KEY}")
        await site.idle()
        site.clock.advance(100)
        site.origin.fault(Error(502))
        gate = site.origin.hold(KEY)
        assert "stale-while-revalidate" in (await site.get(f"/{KEY}")).cache_status
        await gate.reached.wait()
        before = of(site.server)
        watched = Watched(before, monkeypatch)
        monkeypatch.setattr(before.delivery, "running", Running(0))
        monkeypatch.setattr(Running, "looks", 0)
        await site.server.reload(site.server.config)
        await until(lambda: Running.looks >= 3)
        assert not watched.closed.is_set()
        gate.release()
        await watched.closed.wait()
        assert [one.status for one in site.origin.requests][1:] == [502, 304]
        await Service.close(before)


async def test_and_while_it_warms(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_EVERY", 0.001)
    before = of(site.server)
    watched = Watched(before, monkeypatch)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def warm(*_: object) -> Outcome:
        began.set()
        await go_on.wait()
        return Outcome(Warmed.STORED)

    monkeypatch.setattr(Warmer, "warm", warm)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        warming = group.create_task(tell(site, "/api/warm", {"objects": [{"key": KEY}]}))
        await began.wait()
        monkeypatch.setattr(before.delivery, "running", Running(0))
        monkeypatch.setattr(Running, "looks", 0)
        await site.server.reload(site.server.config)
        await until(lambda: Running.looks >= 3)
        assert not watched.closed.is_set()
        go_on.set()
        await watched.closed.wait()
    assert warming.result()["objects"][0]["result"] == "stored"
    await Service.close(before)


async def test_but_not_for_ever(replaced: Watched) -> None:
    async with asyncio.timeout(10):
        await replaced.service.retire(0.005)
    assert replaced.closed.is_set()


async def test_nor_longer_than_the_server(replaced: Watched) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        retiring = group.create_task(replaced.service.retire(1000))
        await asyncio.sleep(0)
        retiring.cancel()
        with suppress(asyncio.CancelledError):
            await retiring
    assert replaced.closed.is_set()


async def test_one_that_answers_nothing_goes_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(of(site.server), monkeypatch)
    await site.server.reload(site.server.config)
    async with asyncio.timeout(10):
        await watched.closed.wait()
    await Service.close(watched.service)
