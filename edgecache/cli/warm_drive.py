"""Drives a server through what is to be warmed. Rule: nothing is remembered here but sums.

What is in the cache and fresh costs no byte of the origin's, so a run that was stopped is begun
anew and goes on where it was.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from edgecache.core.model import Warmed

DONE = {Warmed.HIT, Warmed.REVALIDATED, Warmed.STORED}
MOST_AT_ONCE = 100
# An answer that comes within these seconds means that what was asked for was there: ask for more.
QUICK = 0.2
# RunPod's origin fails now and then, and means nothing by it.
ATTEMPTS = 3
PAUSE = 0.5
# Failures to name in the end.
MOST_NAMED = 20

Post = Callable[[str, dict[str, Any]], dict[str, Any]]


class Item(NamedTuple):
    """`origin` None: the key's route decides. `range` "": all of it."""

    key: str
    origin: str | None = None
    range: str = ""

    def asked(self) -> dict[str, str]:
        parts = {"key": self.key, "origin": self.origin, "range": self.range}
        return {name: value for name, value in parts.items() if value}


@dataclass(slots=True)
class Totals:
    results: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)  # the first of them

    @property
    def objects(self) -> int:
        return self.results.total()

    @property
    def complete(self) -> bool:
        return self.results.keys() <= DONE


class Pace:
    """`rate` bytes a second on average, whoever takes them; 0: no limit."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._due = clock()  # when all bytes that were taken may have been

    def delay(self) -> float:
        """Seconds until more may be taken."""
        return max(0.0, self._due - self._clock())

    def took(self, count: int) -> None:
        if self._rate:
            self._due = max(self._due, self._clock()) + count / self._rate


class Drive:
    def __init__(
        self,
        post: Post,
        *,
        concurrency: int,
        rate: int = 0,
        evict: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.totals = Totals()
        self._post = post
        self._concurrency = concurrency
        self._options: dict[str, Any] = {"evict": True} if evict else {}
        if rate:  # bytes of one answer: a second's, shared
            self._options["limit"] = max(1, rate // concurrency)
        self._pace = Pace(rate)
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(concurrency, "edgecache-warm")

    async def run(
        self, items: AsyncIterator[Item], show: Callable[[Totals], None] = lambda _: None
    ) -> None:
        """:raises EdgecacheError: the server, or what the items come from, gave up."""
        turn = asyncio.Lock()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(self._work(items, turn, show))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _work(
        self, items: AsyncIterator[Item], turn: asyncio.Lock, show: Callable[[Totals], None]
    ) -> None:
        size = 1
        while True:
            async with turn:
                batch = [item async for item in first(items, size)]
            if not batch:
                return
            began = time.monotonic()
            await self._warm(batch, show)
            quick = time.monotonic() - began < QUICK
            size = min(2 * size, MOST_AT_ONCE) if quick else max(1, size // 2)

    async def _warm(self, batch: list[Item], show: Callable[[Totals], None]) -> None:
        """Asks until each of them has its result."""
        failures: Counter[Item] = Counter()
        while batch:
            await self._sleep(self._pace.delay())
            body = {"objects": [item.asked() for item in batch], **self._options}
            ask = partial(self._post, "/api/warm", body)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
            again = []
            progress = 0
            for item, outcome in zip(batch, answer["objects"], strict=True):
                self.totals.bytes += outcome["bytes"]
                progress += outcome["bytes"]
                failures[item] += outcome["result"] == Warmed.ERROR
                may_succeed = 0 < failures[item] < ATTEMPTS and outcome["result"] == Warmed.ERROR
                if outcome["result"] == Warmed.MORE or may_succeed:
                    again.append(item)
                else:
                    self._count(outcome)
            self._pace.took(progress)
            show(self.totals)
            if len(again) == len(batch) and not progress:  # viewers have the origin, or it fails
                await self._sleep(PAUSE)
            batch = again

    def _count(self, outcome: dict[str, Any]) -> None:
        self.totals.results[outcome["result"]] += 1
        if outcome["result"] not in DONE and len(self.totals.failed) < MOST_NAMED:
            names = ("key", "result", "detail")
            self.totals.failed.append({name: outcome[name] for name in names if name in outcome})


async def first(items: AsyncIterator[Item], count: int) -> AsyncIterator[Item]:
    for _ in range(count):
        try:
            yield await anext(items)
        except StopAsyncIteration:
            return
