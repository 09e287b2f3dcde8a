"""Server and bucket together."""

import io

import aiohttp
import pytest
from rich.console import Console

from edgecache.core.errors import CannotStart
from edgecache.demo.samples import load
from edgecache.demo.stage import replay, stage
from edgecache.demo.visit import WrongAnswer


async def test_a_byte_that_differs_from_the_bucket_ends_the_visit() -> None:
    console = Console(file=io.StringIO())
    objects = load()
    other = objects | {"outputs/julia.jpg": objects["outputs/julia.jpg"][:-1] + b"?"}
    async with stage(other, port=0) as server:
        with pytest.raises(WrongAnswer, match=r"outputs/julia.jpg: byte \d+ of the answer is 0x3f"):
            await replay(console, server, objects)


async def test_when_the_server_cannot_start_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    async def start(config: object) -> None:
        tried.append(config)
        raise CannotStart("listen: cannot listen")

    monkeypatch.setattr("edgecache.demo.stage.start", start)
    with pytest.raises(CannotStart, match="cannot listen"):
        async with stage({}, port=0):
            pass
    assert len(tried) == 3
    endpoint = tried[0].origins["demo"].endpoint  # type: ignore[attr-defined]
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(endpoint)
    assert not tried[0].cache.dir.exists()  # type: ignore[attr-defined]
