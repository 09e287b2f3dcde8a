"""Replays a script against a running edgecache. Rule of this module: every byte of every answer is
compared with what was put into the bucket, and bytes are counted by the server, not here.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from edgecache.core.errors import EdgecacheError
from edgecache.core.ranges import format_content_range
from edgecache.demo.script import Ask, Step
from edgecache.demo.stats import Stats, StepResult

# How often, and how far apart in seconds, figures are read until two readings agree: a fill may
# still run when the client that began it has gone.
READINGS = 100
BETWEEN_READINGS = 0.02


class WrongAnswer(EdgecacheError):
    """What came is not what was put."""


class Visit:
    def __init__(
        self,
        session: aiohttp.ClientSession,
        objects: Mapping[str, bytes],
        *,
        url: str,
        admin_url: str,
        advance: Callable[[], None],
    ) -> None:
        self._session = session
        self._objects = objects
        self._url = url
        self._admin_url = admin_url
        self._advance = advance
        self._etags: dict[str, str] = {}

    async def run(self, step: Step) -> StepResult:
        """:raises WrongAnswer: at the first answer that is not as it must be."""
        before = await self.stats()
        if step.together:
            times = await asyncio.gather(*(self.ask(ask) for ask in step.asks))
        else:
            times = [await self.ask(ask) for ask in step.asks]
        after = await self._settled()
        return StepResult(
            title=step.title,
            requests=len(step.asks),
            client_bytes=after.client_bytes - before.client_bytes,
            origin_bytes=after.origin_bytes - before.origin_bytes,
            cold=tuple(seconds for seconds, warm in times if not warm),
            warm=tuple(seconds for seconds, warm in times if warm),
        )

    async def stats(self) -> Stats:
        async with self._session.get(f"{self._admin_url}/api/stats") as response:
            return Stats.parse(await response.json())

    async def _settled(self) -> Stats:
        stats = await self.stats()
        for _ in range(READINGS):
            await asyncio.sleep(BETWEEN_READINGS)
            earlier, stats = stats, await self.stats()
            if stats == earlier:
                break
        return stats

    async def ask(self, ask: Ask) -> tuple[float, bool]:
        """(seconds to the first byte, whether it came from the cache)."""
        headers = {"Range": ask.range} if ask.range else {}
        if ask.revalidate:
            headers["If-None-Match"] = self._etags[ask.key]
        body = bytearray()
        began, first_byte = time.perf_counter(), 0.0
        try:
            async with self._session.get(
                URL(f"{self._url}/{ask.key}", encoded=True), headers=headers
            ) as response:
                async for data in response.content.iter_any():
                    first_byte = first_byte or time.perf_counter() - began
                    body += data
                    if ask.leave_after is not None and len(body) >= ask.leave_after:
                        response.close()
                        break
        except (aiohttp.ClientError, TimeoutError) as error:
            raise WrongAnswer(f"{ask.key} {ask.range}: the answer broke off: {error!r}") from error
        self._check(ask, response, bytes(body))
        self._etags[ask.key] = response.headers.get("ETag", "")
        self._advance()
        warm = response.headers.get("Cache-Status", "").startswith("edgecache; hit")
        return first_byte or time.perf_counter() - began, warm

    def _check(self, ask: Ask, response: aiohttp.ClientResponse, body: bytes) -> None:
        data = self._objects[ask.key]
        span = ask.span(len(data))
        wanted = data[span.start : span.stop]
        status, content_range = 200, ""
        if ask.revalidate:
            status, wanted = 304, b""
        elif ask.range:
            status, content_range = 206, format_content_range(span, len(data))
        if ask.leave_after is not None:
            wanted = wanted[: max(ask.leave_after, len(body))]
        what = f"{ask.key} {ask.range}".rstrip()
        if response.status != status:
            raise WrongAnswer(f"{what}: answered {response.status}, not {status}")
        if response.headers.get("Content-Range", "") != content_range:
            raise WrongAnswer(f"{what}: Content-Range is not {content_range!r}")
        if body != wanted:
            raise WrongAnswer(f"{what}: {first_difference(body, wanted)}")


def first_difference(body: bytes, wanted: bytes) -> str:
    for position, (a, b) in enumerate(zip(body, wanted, strict=False)):
        if a != b:
            return f"byte {position} of the answer is {a:#04x}, in the bucket it is {b:#04x}"
    return f"{len(body)} bytes came, {len(wanted)} are in the bucket"
