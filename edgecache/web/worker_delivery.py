"""A worker's requests: its own answer, or the keeper's. Rule: who answers counts and logs."""

from collections.abc import Callable

from aiohttp import web

from edgecache.core.errors import EdgecacheError, Unavailable
from edgecache.request import Answer
from edgecache.web.delivery import Delivery
from edgecache.web.exchange import Exchange, Written
from edgecache.web.relay import Relay


class WorkerDelivery:
    def __init__(self, delivery: Delivery, relay: Relay, *, is_current: Callable[[], bool]) -> None:
        """`is_current`: whether the keeper goes by the same config."""
        self._delivery = delivery
        self._relay = relay
        self._is_current = is_current

    async def handle(self, request: web.BaseRequest) -> Written:
        exchange = self._delivery.exchange(request)
        answer = await self._own_answer(exchange)
        if answer is not None:
            return await self._delivery.run(exchange, answer)
        try:
            return await self._relay.forward(request, exchange.peer)
        except Unavailable as error:
            return await self._delivery.run(exchange, error)

    async def _own_answer(self, exchange: Exchange) -> Answer | None:
        if not self._is_current() or exchange.request.method not in ("GET", "HEAD"):
            return None
        try:
            return await self._delivery.find(exchange)
        except EdgecacheError:  # the keeper has the words for it
            return None
