"""What tests share: origins, a clock, and the rule for programs that are not installed."""

import os
import shutil
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

import aiohttp
import pytest

from tests.runpod import RunPodOrigin
from tests.s3client import SigningClient


def require(program: str) -> str:
    """The program's path. Without it: skip on a laptop, fail where CI=true."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture
def asked_for(request: pytest.FixtureRequest) -> None:
    """For what takes minutes, and shows more of what a quick test shows: pytest -m slow."""
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes: -m slow runs it")


class FakeClock:
    """Seconds since the epoch that pass only when told to."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class S3Client(Protocol):
    """The calls of a boto3 client that tests make."""

    def create_bucket(self, *, Bucket: str) -> object: ...

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes,
        ContentType: str,
    ) -> object: ...

    def close(self) -> None: ...


class Moto:
    """moto as a server: S3's API by other authors. It takes any signature."""

    bucket = "media"
    access_key = "access"
    secret_key = "secret"
    region = "us-east-1"

    def __init__(self, endpoint: str, client: S3Client) -> None:
        self.endpoint = endpoint
        self.client = client

    def put(self, key: str, data: bytes, content_type: str = "binary/octet-stream") -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType=content_type)

    def reset(self) -> None:
        """Forget everything but an empty bucket."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()
        self.client.create_bucket(Bucket=self.bucket)


@pytest.fixture
async def runpod() -> AsyncIterator[RunPodOrigin]:
    async with RunPodOrigin() as origin:
        yield origin


@pytest.fixture
async def s3client(runpod: RunPodOrigin) -> AsyncIterator[SigningClient]:
    """A client of `runpod` itself, past edgecache."""
    async with aiohttp.ClientSession() as session:
        yield SigningClient(runpod, session)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    import boto3  # here, because most runs of a few tests need neither: half a second
    from botocore.config import Config
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=Moto.region,
        aws_access_key_id=Moto.access_key,
        aws_secret_access_key=Moto.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    yield Moto(endpoint, client)
    client.close()
    server.stop()


@pytest.fixture
def moto(moto_server: Moto) -> Moto:
    moto_server.reset()
    return moto_server


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every name under s3.test is this machine's; those that were looked up."""
    asked: list[str] = []
    found: Callable[..., Any] = socket.getaddrinfo

    def local(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith("s3.test"):
            asked.append(name)
            host = "127.0.0.1"
        return found(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    return asked
