"""The RunPod-like origin in a loop of its own, so that a test can wait for a program meanwhile."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, Self, TypeVar

from tests.faults import Gate
from tests.pattern import Pattern
from tests.runpod import OriginRequest, RunPodOrigin

T = TypeVar("T")
PATIENCE = 30.0


class OriginThread:
    """`origin` is only read, or changed by single assignments, from other threads."""

    origin: RunPodOrigin

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="origin")
        self._thread.start()
        self.origin = self._run(_opened())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self.origin.__aexit__())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def put(self, key: str, data: bytes | Pattern) -> None:
        self.origin.put(key, data)

    def asked(self, key: str) -> list[str | None]:
        """The Range fields of the GETs of `key`, in order."""
        return self.origin.asked(key)

    def sent(self, key: str) -> int:
        """Body bytes of `key` sent so far, once no answer of it is running."""
        self._run(self.origin.until(lambda: all(one.done for one in self._requests(key))))
        return sum(one.sent for one in self._requests(key))

    def methods(self, key: str) -> set[str]:
        return {one.method for one in self._requests(key)}

    def _requests(self, key: str) -> list[OriginRequest]:
        return [one for one in self.origin.requests if one.key == key]

    @contextmanager
    def held(self, key: str, *, after: int | None) -> Iterator["Held"]:
        """Stops its next answer at that byte of the body; None: before the head."""

        async def hold() -> Gate:
            return self.origin.hold(key, after=after)

        held = Held(self._run(hold()), self._loop)
        try:
            yield held
        finally:
            held.release()


class Held:
    """An answer that goes on when it is released."""

    def __init__(self, gate: Gate, loop: asyncio.AbstractEventLoop) -> None:
        self._gate = gate
        self._loop = loop

    def wait(self) -> None:
        """Waits until the answer has come to where it stops."""
        reached = asyncio.run_coroutine_threadsafe(self._gate.reached.wait(), self._loop)
        reached.result(PATIENCE)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._gate.release)


async def _opened() -> RunPodOrigin:
    """With what RunPod's S3 always does: no HEAD of media, UTC dates, weak ETags, and more."""
    origin = RunPodOrigin()
    quirks = origin.quirks
    quirks.head_forbidden = quirks.utc_dates = quirks.weak_etags = True
    quirks.missing_as_400 = quirks.cloudflare_fields = True
    return await origin.__aenter__()
