"""A private bucket on this machine: moto as S3, in a thread, on a free loopback port.

Rule of this module: nothing of moto leaves it, neither its log nor its server's thread.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
from yarl import URL

from edgecache.core.errors import ConfigError, UpstreamError

BUCKET = "demo-media"
# moto wants to see a signature for what is not public, and takes any.
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=demo/20250101/us-east-1/s3/aws4_request,"
    " SignedHeaders=host, Signature=0"
)


class Embedded(Protocol):
    """What is used of moto's server."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def get_host_and_port(self) -> tuple[str, int]: ...


@asynccontextmanager
async def private_bucket(objects: Mapping[str, bytes]) -> AsyncIterator[str]:
    """The endpoint of an S3 that has `objects` in BUCKET, until the context ends.

    :raises ConfigError: moto is not installed.
    """
    server = await asyncio.to_thread(_start)
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        await _fill(endpoint, objects)
        yield endpoint
    finally:
        await asyncio.to_thread(server.stop)


def _start() -> Embedded:
    # Here and in a thread: the import takes a second, some on a cold disk.
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise ConfigError(
            f"the demo's embedded S3 is not installed ({error.name} is missing)",
            hint="pip install 'edgecache[demo]'",
        ) from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request at INFO
    server: Embedded = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    return server


async def _fill(endpoint: str, objects: Mapping[str, bytes]) -> None:
    """No content types: as on many a real volume, edgecache has to tell them by the extension."""
    async with aiohttp.ClientSession(
        headers={"Authorization": SIGNED}, skip_auto_headers=("Content-Type",)
    ) as session:
        await _put(session, f"{endpoint}/{BUCKET}", b"")
        for key, data in objects.items():
            await _put(session, f"{endpoint}/{BUCKET}/{key}", data)


async def _put(session: aiohttp.ClientSession, url: str, data: bytes) -> None:
    async with session.put(URL(url, encoded=True), data=data) as response:
        if response.status != 200:
            raise UpstreamError(f"the embedded S3 refused {url}: {response.status}")
