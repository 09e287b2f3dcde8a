"""Raw requests, also of kinds that serving never sends: HEAD, OPTIONS, PUT, unsigned, presigned.

Rule of this module: the session and the signer are those of serving; every body that is read has a
bound, and so has the number of requests; a failure that passes by itself is no answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import aiohttp
from yarl import URL

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.core.errors import EdgecacheError, UpstreamError
from edgecache.core.reply import Fields, join_fields
from edgecache.core.retry import PASSING, failure_of
from edgecache.core.validators import parse_http_date
from edgecache.signing import Signer
from edgecache.upstream import mapped_errors, object_url, open_session, unsigned_headers

MOST_REQUESTS = 400
MOST_BODY = 64 * 1024
# Seconds before each repetition of what failed.
PAUSES = (0.2, 0.5, 1.0)
NONE: Mapping[str, str] = {}
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One answer, and as much of its body as was wanted."""

    status: int
    fields: Fields
    body: bytes
    seconds: float  # to the head

    @property
    def found(self) -> bool:
        return self.status in (200, 206)


class Failing(UpstreamError):
    """It answers, but with a status that passes by itself: nothing is to be learnt of it."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(f"the origin failed with {heard.status}")
        self.heard = heard
        self.forward_status = heard.status


class Probe:
    def __init__(self, origin: Origin, fetch: Fetch) -> None:
        self.origin = origin
        self.requests = 0
        self.repetitions = 0  # among them
        self.skew: float | None = None  # seconds that this machine's clock is ahead
        self._fetch = fetch
        self._signer = Signer(origin)
        self._session = open_session(fetch, limit=0)

    async def close(self) -> None:
        await self._session.close()

    def count(self) -> None:
        """:raises EdgecacheError: that would be one too many."""
        if self.requests >= MOST_REQUESTS:
            raise EdgecacheError("no more requests", hint=f"the doctor asks {MOST_REQUESTS} times")
        self.requests += 1

    async def get(self, key: str, fields: Mapping[str, str] = NONE) -> Heard:
        return await self.send("GET", object_url(self.origin, key), fields)

    async def send(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str] = NONE,
        *,
        signed: bool = True,
        body: bytes = b"",
        most: int = MOST_BODY,
    ) -> Heard:
        """:raises Failing: it fails each time; UpstreamError, UpstreamTimeout: no answer."""
        once = partial(self.once, method, url, fields, signed=signed, body=body, most=most)
        return await self.repeated(once)

    async def repeated(self, ask: Callable[[], Awaitable[T]]) -> T:
        """:raises EdgecacheError: as `ask` does, where no repetition mends it."""
        for pause in PAUSES:
            try:
                return await ask()
            except EdgecacheError as error:
                if failure_of(error) is None:
                    raise
            await asyncio.sleep(pause)
            self.repetitions += 1
        return await ask()

    async def once(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str] = NONE,
        *,
        signed: bool = True,
        body: bytes = b"",
        most: int = MOST_BODY,
    ) -> Heard:
        """As `send`, without a repetition."""
        self.count()
        headers = unsigned_headers(self.origin)
        if signed:
            headers |= await self._signer.headers(method, url, body)
        headers |= fields
        began = time.monotonic()
        with mapped_errors("the origin did not answer"):
            async with asyncio.timeout(self._fetch.first_byte_timeout):
                response = await self._session.request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=body or None,
                    allow_redirects=False,
                    skip_auto_headers=("Content-Type",),
                )
        seconds = time.monotonic() - began
        got = join_fields(response.headers.items())
        if (date := parse_http_date(got.get("date", "").replace("UTC", "GMT"))) is not None:
            self.skew = time.time() - date
        heard = Heard(
            status=response.status,
            fields=got,
            body=await self._read(response, most),
            seconds=seconds,
        )
        if heard.status in PASSING:
            raise Failing(heard)
        return heard

    async def presigned(self, key: str) -> str:
        """Works for a minute, as a secret."""
        return await self._signer.presigned(object_url(self.origin, key), 60)

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        """What comes of it: a status is an answer also where its body fails."""
        body = b""
        try:
            with suppress(EdgecacheError), mapped_errors("the body was cut off"):
                async with asyncio.timeout(self._fetch.stall_timeout):
                    while data := await response.content.read(most - len(body)):
                        body += data
        finally:
            # A connection is kept only where nothing more can come over it.
            if response.content.at_eof():
                response.release()
            else:
                response.close()
        return body
