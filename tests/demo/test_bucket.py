"""The embedded S3."""

import sys

import aiohttp
import pytest

from edgecache.core.errors import ConfigError
from edgecache.demo.bucket import BUCKET, SIGNED, private_bucket

OBJECTS = {"outputs/a.jpg": b"a" * 1000, "outputs/empty.txt": b""}


async def test_it_is_private_and_has_the_objects() -> None:
    async with private_bucket(OBJECTS) as endpoint, aiohttp.ClientSession() as session:
        for key, data in OBJECTS.items():
            url = f"{endpoint}/{BUCKET}/{key}"
            async with session.get(url, headers={"Authorization": SIGNED}) as response:
                assert (response.status, await response.read()) == (200, data)
            async with session.get(url) as response:
                assert response.status == 403


async def test_it_listens_on_loopback_only_until_the_end() -> None:
    async with private_bucket({}) as endpoint:
        assert endpoint.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(endpoint)


async def test_without_moto_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto.server", None)
    with pytest.raises(ConfigError, match=r"moto\.server is missing") as caught:
        async with private_bucket({}):
            pass
    assert caught.value.hint == "pip install 'edgecache[demo]'"
