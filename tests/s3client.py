"""A client as the origin wants it: botocore signs three headers, all others are added after.

Rule of this module: what goes over the wire is exactly what the test wrote, path included.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientResponse, ClientSession
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from multidict import CIMultiDictProxy
from yarl import URL

from tests.runpod import RunPodOrigin

Fields = Mapping[str, str]
NONE: Fields = {}


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


@dataclass(frozen=True, slots=True)
class SigningClient:
    origin: RunPodOrigin
    session: ClientSession

    def sign(self, path: str, method: str, data: bytes = b"") -> tuple[URL, dict[str, str]]:
        url = f"{self.origin.endpoint}/{self.origin.bucket}/{path}"
        request = AWSRequest(method=method, url=url, data=data)
        credentials = Credentials(self.origin.access_key, self.origin.secret_key)
        S3SigV4Auth(credentials, "s3", self.origin.region).add_auth(request)
        return URL(url, encoded=True), dict(request.headers)

    @asynccontextmanager
    async def open(
        self, path: str, fields: Fields = NONE, *, method: str = "GET", data: bytes = b""
    ) -> AsyncIterator[ClientResponse]:
        """The answer, its body unread."""
        url, headers = self.sign(path, method, data)
        async with self.session.request(
            method, url, headers=headers | {**fields}, data=data or None, allow_redirects=False
        ) as response:
            yield response

    async def send(
        self, path: str, fields: Fields = NONE, *, method: str = "GET", data: bytes = b""
    ) -> Got:
        async with self.open(path, fields, method=method, data=data) as response:
            return Got(response.status, response.headers, await response.read())

    async def raw(self, path: str, fields: Fields = NONE) -> bytes:
        """Every byte that the origin sends until it closes."""
        url, headers = self.sign(path, "GET")
        headers |= {"Host": f"{url.host}:{url.port}", "Connection": "close", **fields}
        lines = [f"GET {url.raw_path} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
        reader, writer = await asyncio.open_connection(url.host, url.port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode())
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
