"""Requests to one origin that may fail. Rules of this module: an attempt has a turn until its body
is closed, and a pass of the breaker; none is repeated that a repetition can't mend, nor beyond the
budget, nor while the breaker is open; nothing is repeated once its first byte is there.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from edgecache.config_fetch import Fetch
from edgecache.core.breaker import Breaker, BreakerState
from edgecache.core.errors import (
    EdgecacheError,
    NotAsked,
    Stopped,
    Unwanted,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
)
from edgecache.core.hedging import Hedging
from edgecache.core.model import ObjectKey, Reason, Waste
from edgecache.core.ranges import RangeSpec
from edgecache.core.reply import Found, NotModified
from edgecache.core.retry import (
    Failure,
    Readable,
    RetryBudget,
    failure_of,
    retry_delay,
    worth_repeating,
)
from edgecache.core.turns import Priority, priority_of
from edgecache.metrics import Metrics
from edgecache.tasks import Tasks
from edgecache.turn_queue import Turn, TurnQueue
from edgecache.upstream import Body, Upstream

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
# The class of what has no status code.
NO_ANSWER, CANCELLED = "error", "cancelled"
# Is told of body bytes that no answer given here brings: why they were bought, and for nothing.
OnWaste = Callable[[Reason, Waste, int], None]
# Whether anybody waits for the answer still.
IsWanted = Callable[[], bool]


def always() -> bool:
    return True


def uncounted(reason: Reason, cause: Waste, count: int) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The body is the caller's to close. `reason` is what its bytes are bought for."""

    found: Found | NotModified
    body: Body
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    key: ObjectKey
    range: RangeSpec | None
    priority: Priority
    if_match: str
    if_none_match: str
    on_waste: OnWaste
    is_wanted: IsWanted

    def check(self) -> None:
        """:raises Unwanted: nobody waits for it any more."""
        if not self.is_wanted():
            raise Unwanted


class HeldBody:
    """A body whose end frees a turn, and whose breaking is the origin's failure."""

    def __init__(self, body: Body, turn: Turn, on_broken: Callable[[], None]) -> None:
        self._body = body
        self._turn = turn
        self._on_broken = on_broken
        self._is_broken = False

    async def read(self) -> bytes:
        try:
            return await self._body.read()
        except UpstreamError:
            if not self._is_broken:
                self._is_broken = True
                self._on_broken()
            raise

    def close(self) -> None:
        self._body.close()
        self._turn.close()

    @property
    def unread(self) -> int:
        return self._body.unread


class Attempts:
    """All of this begins anew with each config: an operator who reloads has changed something that
    may mend the origin. While answers of the one before end, there may be more of them than turns.
    """

    def __init__(
        self,
        upstream: Upstream,
        fetch: Fetch,
        metrics: Metrics,
        *,
        connections: int | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        chance: Clock = random.random,
    ) -> None:
        """`connections`: the origin's own limit. `chance`: from 0 to 1."""
        self._upstream = upstream
        self._fetch = fetch
        self._metrics = metrics
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self.queue = TurnQueue(connections or fetch.connections, fetch.queue_timeout)
        self._breaker = Breaker(fetch.breaker_failures, fetch.breaker_pause)
        self._budget = RetryBudget(fetch.retry_share, clock())
        self._hedging = Hedging(fetch.hedge_share)
        self._readable = Readable()
        self._tasks = Tasks()
        self._has_failed = False  # its last answer was a failure

    async def close(self) -> None:
        await self._tasks.close()
        await self._upstream.close()

    @property
    def state(self) -> BreakerState:
        return self._breaker.state(self._clock())

    @property
    def is_left_alone(self) -> bool:
        return self._breaker.is_shut(self._clock())

    @property
    def is_failing(self) -> bool:
        """Whether the next answer may well be a failure, too, or is none at all."""
        return self._has_failed or self.state is not BreakerState.CLOSED

    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        reason: Reason,
        if_match: str = "",
        if_none_match: str = "",
        on_waste: OnWaste = uncounted,
        is_wanted: IsWanted = always,
    ) -> Answer:
        """As `Upstream.get`, repeated where that may help.

        :raises NotAsked: there was no turn in time, the breaker is open, or it is not wanted.
        """
        request = Request(
            key=key,
            range=range_,
            priority=priority_of(reason),
            if_match=if_match,
            if_none_match=if_none_match,
            on_waste=on_waste,
            is_wanted=is_wanted,
        )
        began = self._clock()
        self._budget.request(began)
        self._hedging.request()
        for attempt in range(self._fetch.retries + 1):
            try:
                return await self._ask(request, Reason.RETRY if attempt else reason)
            except EdgecacheError as error:
                # None is begun after a time that a viewer may have waited for one alone.
                latest = began + self._fetch.first_byte_timeout
                why = await self._wait_to_repeat(error, request, attempt, latest)
                self._metrics.origin_retries.labels(why).inc()
        raise AssertionError  # the last attempt is not repeated

    async def resume(
        self,
        key: ObjectKey,
        range_: RangeSpec,
        *,
        reason: Reason,
        error: EdgecacheError,
        attempt: int,
        if_match: str = "",
        on_waste: OnWaste = uncounted,
        is_wanted: IsWanted = always,
    ) -> Answer:
        """The rest of an answer that broke with `error`, asked for once, after a while.

        `reason` is what the answer was asked for, whose priority its rest has; `attempt` says how
        often its rest has been asked for before. The loop is the caller's: this shares the budget,
        the queue and the breaker with `get`, and repeats nothing by itself. Close the broken body
        before: it has a turn.

        :raises EdgecacheError: `error` itself if it is not to be repeated, or not any more; else as
            `Upstream.get` does. NotAsked: as in `get`.
        """
        request = Request(
            key=key,
            range=range_,
            priority=priority_of(reason),
            if_match=if_match,
            if_none_match="",
            on_waste=on_waste,
            is_wanted=is_wanted,
        )
        await self._wait_to_repeat(error, request, attempt)
        return await self._attempt(request, Reason.RESUME)

    # Repetitions

    async def _wait_to_repeat(
        self, error: EdgecacheError, request: Request, attempt: int, latest: float = float("inf")
    ) -> Failure:
        """Why there is one.

        :raises EdgecacheError: `error`, if there is to be none, now or by `latest`.
        """
        now, key = self._clock(), request.key
        why = worth_repeating(error, was_readable=self._readable.has(key, now))
        if why is None or attempt >= self._fetch.retries:
            raise error
        delay = retry_delay(self._fetch.retry_delay, attempt, self._chance())
        if isinstance(error, UpstreamBusy):
            delay = max(delay, error.wish)
        if now + delay >= latest or self._breaker.refuses(now, key):
            raise error
        request.check()
        if not self._budget.take(now):
            raise error
        await self._sleep(delay)
        request.check()
        return why

    # One request, or two where the first is late

    async def _ask(self, request: Request, reason: Reason) -> Answer:
        late = self._hedging.late() if request.priority is Priority.VIEWER else None
        if late is None:
            return await self._attempt(request, reason)
        began = self._clock()
        running = [self._begin(request, reason)]
        winner: Attempt | None = None
        try:
            await asyncio.wait(running, timeout=late)
            if not running[0].done() and self._may_hedge(request.priority):
                running.append(self._begin(request, Reason.HEDGE))
            winner = await first_answer(running)
        finally:
            for attempt in running:
                if attempt is not winner:
                    attempt.add_done_callback(partial(discard, request))
                    attempt.cancel()
        if len(running) > 1:
            won = winner is running[1]
            self._metrics.origin_hedges.labels(str(won).lower()).inc()
            if won:  # how late the first would have been nobody knows: so late at least
                self._hedging.took(self._clock() - began)
        if winner.cancelled():  # by `close`: who waits was not
            raise Stopped
        outcome = winner.result()
        if isinstance(outcome, Unwanted) and request.is_wanted():  # by who came since
            return await self._attempt(request, reason)
        if isinstance(outcome, EdgecacheError):
            raise outcome
        return outcome

    def _begin(self, request: Request, reason: Reason) -> "Attempt":
        return self._tasks.spawn(self._outcome(request, reason), name="attempt")

    async def _outcome(self, request: Request, reason: Reason) -> "Outcome":
        try:
            return await self._attempt(request, reason)
        except EdgecacheError as error:
            return error

    def _may_hedge(self, priority: Priority) -> bool:
        """It takes no turn that another waits for, and is no trial."""
        closed = self.state is BreakerState.CLOSED
        return closed and self.queue.has_free(priority) and self._hedging.take()

    # One request

    async def _attempt(self, request: Request, reason: Reason) -> Answer:
        if left := self._breaker.refuses(self._clock(), request.key):
            raise left_alone(left)  # at once, not after a wait for a turn
        turn = await self.queue.take(request.priority)
        try:
            request.check()
            return await self._send(request, reason, turn)
        except BaseException:
            turn.close()
            raise

    async def _send(self, request: Request, reason: Reason, turn: Turn) -> Answer:
        began = self._clock()
        admitted = self._breaker.admit(began, request.key)
        if admitted is None:
            raise left_alone(self._breaker.refuses(began, request.key))
        code_class = NO_ANSWER
        try:
            found, body = await self._upstream.get(
                request.key,
                request.range,
                if_match=request.if_match,
                if_none_match=request.if_none_match,
            )
            code_class = "2xx" if isinstance(found, Found) else "3xx"
        except EdgecacheError as error:
            request.on_waste(reason, Waste.ERROR, error.bought)
            if error.forward_status:
                code_class = f"{error.forward_status // 100}xx"
            self._has_failed = failure_of(error) is not None
            if not self._has_failed:  # missing, out of range, replaced: the origin is well
                self._breaker.succeeded(admitted, self._clock())
            else:
                self._breaker.failed(admitted, self._clock(), request.key)
            raise
        except BaseException as end:  # it was given up, which says nothing of the origin
            if isinstance(end, asyncio.CancelledError):
                code_class = CANCELLED
            self._breaker.dropped(admitted)
            raise
        finally:
            self._metrics.origin_requests.labels("get", code_class).inc()
            if code_class not in (NO_ANSWER, CANCELLED):
                self._metrics.origin_first_byte.labels("get").observe(self._clock() - began)
        now = self._clock()
        self._has_failed = False
        self._breaker.succeeded(admitted, now)
        self._hedging.took(now - began)
        self._readable.add(request.key, now)
        return Answer(
            found=found, body=HeldBody(body, turn, partial(self._broke, request.key)), reason=reason
        )

    def _broke(self, key: ObjectKey) -> None:
        self._breaker.broke(self._clock(), key)


Outcome = Answer | EdgecacheError
Attempt = asyncio.Task[Outcome]


async def first_answer(running: list[Attempt]) -> Attempt:
    """The first that is answered; if none is, the first that was begun. A failure is no answer."""
    waiting = set(running)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for attempt in running:
            if attempt in done and is_answered(attempt):
                return attempt
    return running[0]


def is_answered(ended: Attempt) -> bool:
    if ended.cancelled() or ended.exception() is not None:
        return False
    outcome = ended.result()
    if isinstance(outcome, Answer):
        return True
    # A refusal may be one of a moment.
    return failure_of(outcome) is None and not isinstance(outcome, NotAsked | UpstreamDenied)


def discard(request: Request, ended: Attempt) -> None:
    """Nobody takes what it brings."""
    if not ended.cancelled() and ended.exception() is None:
        outcome = ended.result()
        if isinstance(outcome, Answer):
            outcome.body.close()
            request.on_waste(outcome.reason, Waste.UNREAD, outcome.body.unread)


def left_alone(seconds: float) -> NotAsked:
    return NotAsked(
        "the origin fails, and is left alone for a while",
        detail="breaker-open",
        retry_after=seconds,
    )
