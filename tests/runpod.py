"""An origin like RunPod's S3 endpoint, in the test's own event loop.

Rule of this module: it is honest until told otherwise, by `quirks` (how the store is, for good)
or by `fault` (what befalls some requests); it verifies SigV4 by itself and lists only if told to.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import md5
from typing import Self
from urllib.parse import parse_qs

from aiohttp import web

from tests import s3
from tests.faults import (
    Action,
    Answer,
    Ended,
    Fault,
    Framing,
    Gate,
    Hold,
    error_answer,
)
from tests.pattern import Bytes, ByteSource, Pattern
from tests.s3 import Quirks, StoredObject
from tests.sigv4 import Credentials, Refused, SentRequest, signed_headers, verify
from tests.wire import Connection, Written, deliver

__all__ = ["ByteSource", "OriginRequest", "Pattern", "Quirks", "RunPodOrigin", "StoredObject"]

SEND_BUFFER = 128 * 1024  # small, so that few bytes are sent that nobody will read
EPOCH = 1_700_000_000


@dataclass(slots=True, kw_only=True)
class OriginRequest:
    """One request as it came, and how far its answer got."""

    method: str
    raw_path: str
    key: str
    range: str | None
    headers: tuple[tuple[str, str], ...]
    signed: tuple[str, ...]
    reused: bool
    status: int = 0
    sent: int = 0
    aborted: bool = False
    done: bool = False

    @property
    def header_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.headers)

    def header(self, name: str) -> str | None:
        return next((value for header, value in self.headers if header == name.lower()), None)


@dataclass(slots=True)
class Change:
    """An object's next version (None: gone), after `after` more GETs of the present one."""

    after: int
    next: StoredObject | None


class RunPodOrigin:
    """`async with RunPodOrigin() as origin:` serves at `origin.endpoint`."""

    def __init__(
        self,
        *,
        bucket: str = "k3x9z7q1ab",
        access_key: str = "user_2kXaMpLe",
        secret_key: str = "rps_EXAMPLESECRETEXAMPLESECRET",
        region: str = "EU-RO-1",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.bucket = bucket
        self.access_key = access_key
        self.secret_key = secret_key
        self.region = region
        self.now = now
        self.quirks = Quirks()
        self.faults: list[Fault] = []
        self.requests: list[OriginRequest] = []
        self.objects: dict[str, StoredObject] = {}
        self.active = 0
        self.max_concurrent = 0
        self.port = 0
        self._changes: dict[str, list[Change]] = {}
        self._puts = 0
        self._bugs: list[Exception] = []  # the double's own: they fail the test
        self._moved = asyncio.Event()
        self._connections: set[web.RequestHandler] = set()
        self._listener: asyncio.Server | None = None
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        await self._server.shutdown(1.0)
        if self._bugs:
            raise self._bugs[0]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What edgecache's config calls an origin."""
        names = ("endpoint", "region", "bucket", "access_key", "secret_key")
        return {name: getattr(self, name) for name in names}

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        sock = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, sock=sock)

    async def refuse(self) -> None:
        """Drop every connection and refuse new ones, until `listen`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await self.settled()

    # The objects

    def put(
        self,
        key: str,
        data: bytes | ByteSource,
        *,
        etag: str | None = None,
        last_modified: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> StoredObject:
        """Store an object, at once. `etag` without quotes; `headers` are its own fields."""
        stored = self._make(data, etag, last_modified, headers)
        self.objects[key] = stored
        return stored

    def remove(self, key: str) -> None:
        self.objects.pop(key, None)

    def change_after(
        self,
        key: str,
        n_requests: int,
        data: bytes | ByteSource | None,
        *,
        etag: str | None = None,
        last_modified: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Let `n_requests` GETs see the present version, later ones the new (None: gone)."""
        stored = None if data is None else self._make(data, etag, last_modified, headers)
        self._changes.setdefault(key, []).append(Change(n_requests, stored))

    def _make(
        self,
        data: bytes | ByteSource,
        etag: str | None,
        last_modified: float | None,
        headers: Mapping[str, str] | None,
    ) -> StoredObject:
        self._puts += 1
        fields = dict(headers or {})
        if "content-type" not in map(str.lower, fields):
            fields["Content-Type"] = "binary/octet-stream"  # S3's word for a type it was not told
        source = Bytes(data) if isinstance(data, bytes) else data
        content = data if isinstance(data, bytes) else repr(data).encode()
        return StoredObject(
            data=source,
            etag=md5(content).hexdigest() if etag is None else etag.strip('"'),
            last_modified=EPOCH + self._puts if last_modified is None else last_modified,
            headers=fields,
        )

    # What befalls requests

    def fault(
        self,
        *actions: Action,
        key: str = "",
        range: str | None = None,
        reused: bool = False,
        skip: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """Let the actions befall the next request that matches.

        :param key: prefix. :param range: the Range header, exactly. :param reused: only requests
            on a connection that has answered one. :param skip: so many pass first.
        :param times: how many it befalls; None: all.
        """
        fault = Fault(actions=actions, key=key, range=range, reused=reused, skip=skip, times=times)
        self.faults.append(fault)
        return fault

    def hold(
        self,
        key: str = "",
        *,
        after: int | None = None,
        range: str | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Gate:
        """Hold the next matching answer before its head, or at byte `after` of its body."""
        gate = Gate(self._moved.set)
        self.fault(Hold(gate, after), key=key, range=range, skip=skip, times=times)
        return gate

    # The books

    @property
    def body_bytes(self) -> int:
        return sum(request.sent for request in self.requests)

    def asked(self, key: str) -> list[str | None]:
        """The Range headers of the GETs of this key, in order."""
        return [one.range for one in self.requests if one.method == "GET" and one.key == key]

    def reset(self) -> None:
        """Start the books anew; objects, quirks and faults stay."""
        self.requests.clear()
        self.max_concurrent = self.active

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what changes when a request comes or ends, sends bytes or reaches a gate."""
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    async def arrived(self, count: int) -> None:
        await self.until(lambda: len(self.requests) >= count)

    async def settled(self) -> None:
        """Wait until no request is being answered."""
        await self.until(lambda: not self.active)

    # The server

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        record = self._record(request)
        self.active += 1
        self.max_concurrent = max(self.max_concurrent, self.active)
        self._moved.set()
        keep = False
        try:
            keep = await self._serve(request, record)
        except Ended:
            pass
        except ConnectionError:
            record.aborted = True
        except asyncio.CancelledError:
            record.aborted = True
            raise
        except Exception as bug:
            self._bugs.append(bug)
        finally:
            record.done = True
            self.active -= 1
            self._moved.set()
        return Written(keep=keep)

    def _record(self, request: web.BaseRequest) -> OriginRequest:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        path = request.raw_path.partition("?")[0]
        record = OriginRequest(
            method=request.method,
            raw_path=request.raw_path,
            key=s3.decode_key(path, self.bucket, self.quirks),
            range=request.headers.get("Range"),
            headers=headers,
            signed=signed_headers(SentRequest(method="", target="", headers=headers)),
            reused=request.protocol in self._connections,
        )
        self._connections.add(request.protocol)
        self.requests.append(record)
        return record

    async def _serve(self, request: web.BaseRequest, record: OriginRequest) -> bool:
        """Answer, and say whether the connection can be kept."""
        connection = Connection(request)
        if record.header("expect"):
            await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.content.read()

        def count(body_bytes: int) -> None:
            record.sent += body_bytes
            self._moved.set()

        quirks = self.quirks.of(record.key)
        answer = self._answer(record, body, quirks)
        record.status = answer.status
        if quirks.latency:
            await asyncio.sleep(quirks.latency)
        await deliver(
            answer,
            connection,
            bodiless=record.method == "HEAD",
            bandwidth=quirks.bandwidth,
            count=count,
        )
        return request.keep_alive and answer.framing is not Framing.CLOSE

    def _answer(self, record: OriginRequest, body: bytes, quirks: Quirks) -> Answer:
        """The honest or quirky answer, then what befalls it; a refused signature hides no fault."""
        sent = SentRequest(
            method=record.method, target=record.raw_path, headers=record.headers, body=body
        )
        credentials = Credentials(self.access_key, self.secret_key, self.region)
        try:
            verify(sent, credentials, self.now(), refuse=quirks.refuse_signed)
        except Refused as refused:
            return error_answer(
                refused.status, refused.code, refused.message, refused.string_to_sign
            )
        answer = self._answer_signed(record, body, quirks)
        reused = record.reused
        befalling = [
            one for one in self.faults if one.befalls(record.key, record.range, reused=reused)
        ]
        self.faults = [one for one in self.faults if not one.spent]
        for action in (action for fault in befalling for action in fault.actions):
            action(answer)
        return answer

    def _answer_signed(self, record: OriginRequest, body: bytes, quirks: Quirks) -> Answer:
        query = parse_qs(record.raw_path.partition("?")[2])
        match record.method:
            case "GET" if quirks.lists and not record.key and "list-type" in query:
                return s3.answer_listing(self.objects, query.get("prefix", [""])[0])
            case "GET" | "HEAD":
                if record.method == "GET":
                    self._change(record.key)
                stored = self.objects.get(record.key)
                return s3.answer_read(
                    record.method, record.key, record.header, stored, quirks, self.now()
                )
            case "PUT" if record.key:
                kept = {"Content-Type": record.header("content-type") or "binary/octet-stream"}
                stored = self.put(record.key, body, headers=kept)
                return Answer(status=200, fields=s3.validators(stored, quirks))
            case "DELETE" if record.key:
                self.remove(record.key)
                return Answer(status=204, fields={})
            case _:
                return error_answer(501, "NotImplemented", "A function not listed is not there.")

    def _change(self, key: str) -> None:
        changes = self._changes.get(key, [])
        while changes and changes[0].after == 0:
            following = changes.pop(0).next
            if following is None:
                self.remove(key)
            else:
                self.objects[key] = following
        if changes:
            changes[0].after -= 1
