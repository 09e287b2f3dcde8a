"""The origin, over S3's HTTP. Rule of this module: a request is made of method, key and range
only; nothing of a client's reaches the wire. Redirects are never followed: they would
carry the keys.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from fcntl import ioctl
from termios import FIONREAD
from typing import Protocol
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.config_quirks import Quirks
from edgecache.core.errors import EdgecacheError, Stopped, UpstreamError, UpstreamTimeout
from edgecache.core.model import ObjectKey
from edgecache.core.ranges import RangeSpec, SuffixRange
from edgecache.core.reply import (
    Asked,
    Fields,
    Found,
    NotModified,
    failure,
    interpret,
    join_fields,
    wanted,
)
from edgecache.signing import Signer

ERROR_BODY_LIMIT = 4096
# aiohttp lets twice as much wait for a fill that waits for its reader.
READ_BUFFER = 2**17
# What has to come within `stall_timeout`: a byte now and then is no progress.
PACE = 2**16
# S3's largest object. A lie beyond it would have this process count slices for ever.
LARGEST_OBJECT = 5 * 2**40
# Whether the connection that was asked on last, in this task, had been used before.
REUSED: ContextVar[bool] = ContextVar("REUSED", default=False)


class Body(Protocol):
    """The bytes of one answer, once."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Never more in all than the span's length.

        :raises UpstreamError: cut, reset; UpstreamTimeout: no progress for `stall_timeout`, or not
            whole in `total_timeout`.
        """

    def close(self) -> None:
        """Keep the connection if the body was read to its end, drop it otherwise."""

    @property
    def unread(self) -> int:
        """How many of its bytes had come and were not read: of one that is closed, for good."""


class Upstream(Protocol):
    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        if_match: str = "",
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        """One GET.

        :raises NotFound, RangeNotSatisfiable, VersionChanged (412), UpstreamError and below.
        """

    async def close(self) -> None: ...


class HttpBody:
    """Of the timeouts only the origin's time is spent, not a slow reader's."""

    def __init__(self, response: aiohttp.ClientResponse, length: int, fetch: Fetch) -> None:
        self._response = response
        self._arrived: int | None = None  # once it is dropped
        self._read = 0
        self._left = length
        self._stall = stall = fetch.stall_timeout
        self._time = fetch.total_timeout  # what is left of it
        self._patience = stall  # what is left of it for the next PACE bytes
        self._pace = PACE

    async def read(self) -> bytes:
        if self._left == 0:
            return b""
        clock = asyncio.get_running_loop().time
        asked = clock()
        with mapped_errors("the origin stopped sending"):
            async with asyncio.timeout(min(self._patience, self._time)):
                data = await self._response.content.readany()
        if not data:
            raise UpstreamError("the origin's body ended early")
        if len(data) > self._left:  # more than it announced: neither is to be trusted
            self._drop()
            data = data[: self._left]
        self._left -= len(data)
        self._read += len(data)
        self._pace -= len(data)
        took = clock() - asked
        self._time -= took
        self._patience -= took
        if self._pace <= 0:
            self._pace, self._patience = PACE, self._stall
        return data

    def close(self) -> None:
        if self._left == 0 and self._response.content.at_eof():
            self._response.release()
        else:
            self._drop()

    def _drop(self) -> None:
        if self._arrived is None:
            self._arrived = drop(self._response)

    @property
    def unread(self) -> int:
        arrived = self._response.content.total_bytes if self._arrived is None else self._arrived
        return arrived - self._read


def drop(response: aiohttp.ClientResponse) -> int:
    """Closes an answer's connection; how many bytes of the body had come, whoever read them.

    What the kernel has of it came too. (Of TLS these are its records: a little more than the body.)
    """
    arrived = response.content.total_bytes
    connection = response.connection
    if connection is not None and connection.transport is not None:
        waiting = bytes(4)
        with suppress(OSError, ValueError):  # closed by now
            sock = connection.transport.get_extra_info("socket")
            waiting = ioctl(sock.fileno(), FIONREAD, waiting)
        arrived += int.from_bytes(waiting, sys.byteorder)
    response.close()
    return arrived


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Turns aiohttp's and the system's errors into ours, once, at this edge."""
    try:
        yield
    except EdgecacheError:
        raise
    except TimeoutError as error:
        raise UpstreamTimeout(f"{what} in time") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UpstreamError(what, hint=f"{type(error).__name__}: {error}"[:300]) from error


class Connector(aiohttp.TCPConnector):
    """Never asks on a connection where something came that nobody asked for: the next answer would
    be that."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                REUSED.set(True)
                return connection
            connection.close()
        REUSED.set(False)
        return None


class S3Upstream:
    """GETs from one bucket."""

    def __init__(self, origin: Origin, fetch: Fetch, *, clock: Callable[[], float]) -> None:
        self._origin = origin
        self._fetch = fetch
        self._clock = clock
        self._quirks = origin.quirks or Quirks()
        self._signer = Signer(origin)
        self._session = open_session(fetch, limit=0)  # who asks has had to wait for a turn
        # aiohttp would repeat on new connections too, past every budget.
        self._session._retry_connection = False

    async def close(self) -> None:
        await self._session.close()

    async def get(
        self,
        key: ObjectKey,
        range_: RangeSpec | None,
        *,
        if_match: str = "",
        if_none_match: str = "",
    ) -> tuple[Found | NotModified, Body]:
        url = object_url(self._origin, key.key)
        headers = unsigned_headers(self._origin)
        if isinstance(range_, SuffixRange) and not self._quirks.suffix_range:
            range_ = None
        if range_ is not None:
            headers["Range"] = wanted(range_)
        if not self._quirks.if_match:
            if_match = ""
        if not self._quirks.if_none_match:
            if_none_match = ""
        if if_match and not if_match.startswith("W/"):  # a weak one never matches, RFC 9110 §13.1.1
            headers["If-Match"] = if_match
        if if_none_match:
            headers["If-None-Match"] = if_none_match
        asked = Asked(
            key=key, range=range_, conditional=bool(if_none_match), request_time=self._clock()
        )
        with mapped_errors("the origin did not answer"):
            async with asyncio.timeout(self._fetch.first_byte_timeout):
                headers |= await self._signer.headers("GET", url)
                response = await self._send(URL(url, encoded=True), headers)
        try:
            return await self._read_head(response, asked)
        except BaseException as error:
            bought = drop(response)
            if isinstance(error, EdgecacheError):
                error.bought = bought
            raise

    async def _send(self, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """Once more, unseen, where the origin closed a kept connection just as it was used."""
        try:
            return await self._request(url, headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not REUSED.get():
                raise
        return await self._request(url, headers)

    async def _request(self, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        if self._session.closed:  # aiohttp's own error for it is one of a bug
            raise Stopped
        return await self._session.get(url, headers=headers, allow_redirects=False)

    async def _read_head(
        self, response: aiohttp.ClientResponse, asked: Asked
    ) -> tuple[Found | NotModified, Body]:
        fields = list(response.headers.items())
        if response.status >= 400:
            raise failure(response.status, join_fields(fields), await self._error_body(response))
        found = self._understood(response.status, fields, asked)
        if isinstance(found, NotModified):
            return found, HttpBody(response, 0, self._fetch)
        return found, HttpBody(response, len(found.span), self._fetch)

    def _understood(
        self, status: int, fields: list[tuple[str, str]], asked: Asked
    ) -> Found | NotModified:
        try:
            found = interpret(status, fields, asked, response_time=self._clock())
            if isinstance(found, Found) and found.meta.length > LARGEST_OBJECT:
                raise UpstreamError("the origin announced an impossible length")
        except EdgecacheError as error:
            error.forward_status = status  # of no use, but an answer
            raise
        return found

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """As much of it as tells the error; a status is an answer also where its body fails."""
        body = b""
        with suppress(EdgecacheError), mapped_errors("the origin's error was cut off"):
            async with asyncio.timeout(self._fetch.stall_timeout):
                while data := await response.content.read(ERROR_BODY_LIMIT - len(body)):
                    body += data
        return body


def open_session(fetch: Fetch, *, limit: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=Connector(limit=limit, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_BUFFER,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=fetch.connect_timeout, sock_read=None
        ),
    )


def unsigned_headers(origin: Origin) -> dict[str, str]:
    """What every request has besides its signature."""
    return {
        "Accept-Encoding": "identity",  # compressed on the way, its length and ranges are lost
        "User-Agent": origin.user_agent,
    }


def bucket_url(origin: Origin) -> str:
    if origin.addressing == "path":
        return f"{origin.endpoint}/{origin.bucket}"
    url = urlsplit(origin.endpoint)
    return f"{url.scheme}://{origin.bucket}.{url.netloc}{url.path}"


def object_url(origin: Origin, key: str) -> str:
    return f"{bucket_url(origin)}/{quote(key, safe='/-_.~' + origin.path_safe)}"


__all__ = ["Body", "Fields", "Found", "NotModified", "S3Upstream", "Upstream"]
