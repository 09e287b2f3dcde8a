"""A service that was replaced goes once its answers have ended, or its time is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import ClassVar

import pytest

from edgecache.web import service
from edgecache.web.app import Server
from edgecache.web.service import Service
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Site
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
