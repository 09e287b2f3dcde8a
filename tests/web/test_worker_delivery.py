"""Who answers a worker's request: it itself, or the keeper; and what it says without a keeper."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from edgecache.core.errors import EdgecacheError, Forbidden, Unavailable
from edgecache.core.model import Result
from edgecache.request import Answer
from edgecache.web.delivery import Delivery
from edgecache.web.exchange import CLOSED, KEPT, Exchange
from edgecache.web.peer import Peer
from edgecache.web.relay import Relay
from edgecache.web.worker_delivery import WorkerDelivery

CLIENT = Peer("203.0.113.7", "http", "")
ANSWER = Answer(
    status=200,
    fields=[],
    length=0,
    result=Result.HIT,
    cache_status="",
    first=None,
    body=None,
)


class Own:
    """As a delivery; `found` is what looking for an answer comes to."""

    def __init__(self, found: Answer | EdgecacheError | None) -> None:
        self.looked = False
        self.ran: list[Any] = []
        self._found = found

    def exchange(self, request: Any) -> Exchange:
        return cast(Exchange, SimpleNamespace(request=request, peer=CLIENT))

    async def find(self, _: Exchange) -> Answer | None:
        self.looked = True
        if isinstance(self._found, EdgecacheError):
            raise self._found
        return self._found

    async def run(self, _: Exchange, answer: Any) -> Any:
        self.ran.append(answer)
        return KEPT


class Keeper:
    """As a relay."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.asked: list[Peer] = []
        self._is_away = is_away

    async def forward(self, _: web.BaseRequest, peer: Peer) -> Any:
        self.asked.append(peer)
        if self._is_away:
            raise Unavailable("not ready, try again")
        return CLOSED


async def handled(own: Own, keeper: Keeper, method: str = "GET", *, current: bool = True) -> Any:
    handler = WorkerDelivery(cast(Delivery, own), cast(Relay, keeper), is_current=lambda: current)
    return await handler.handle(cast(web.BaseRequest, SimpleNamespace(method=method)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_it_has_it_answers(method: str) -> None:
    own, keeper = Own(ANSWER), Keeper()
    assert await handled(own, keeper, method) is KEPT
    assert (own.ran, keeper.asked) == ([ANSWER], [])


@pytest.mark.parametrize("found", [None, Forbidden("this object is not public")])
async def test_what_it_has_not_the_keeper_answers(found: EdgecacheError | None) -> None:
    own, keeper = Own(found), Keeper()
    assert await handled(own, keeper) is CLOSED
    assert (own.ran, keeper.asked) == ([], [CLIENT])


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE", "get"])
async def test_no_other_method_is_its_own(method: str) -> None:
    own, keeper = Own(ANSWER), Keeper()
    assert await handled(own, keeper, method) is CLOSED
    assert not own.looked


async def test_while_the_keeper_goes_by_another_config_it_answers_nothing() -> None:
    """What is private by now, only the keeper knows."""
    own, keeper = Own(ANSWER), Keeper()
    assert await handled(own, keeper, current=False) is CLOSED
    assert not own.looked


async def test_without_a_keeper_it_says_so_itself() -> None:
    own, keeper = Own(None), Keeper(is_away=True)
    assert await handled(own, keeper) is KEPT
    assert [type(answer) for answer in own.ran] == [Unavailable]
