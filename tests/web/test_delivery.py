"""What an answer keeps while it is sent. What it says is the tests' over HTTP."""

import weakref
from collections.abc import AsyncGenerator

import pytest

from edgecache.core.model import Result, Source
from edgecache.engine import Engine
from edgecache.request import Answer, ObjectRequest, Piece
from tests import serving
from tests.reading import TARGET, fetch
from tests.serving import Serve

serve = serving.serve


class Data(bytearray):
    """Bytes that a weak reference can watch."""


@pytest.mark.parametrize("serve", ["memory"], indirect=True)
async def test_what_was_sent_is_not_kept(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece of a video, kept until its end, pinned a slice for each slow client."""
    made: list[weakref.ref[Data]] = []
    alive: list[int] = []

    def piece(text: bytes) -> Piece:
        data = Data(text)
        made.append(weakref.ref(data))
        return Source.FILL, data

    async def body() -> AsyncGenerator[Piece, None]:
        for _ in range(3):
            yield piece(b"more")
            alive.append(sum(one() is not None for one in made))

    async def answer(_engine: Engine, _request: ObjectRequest) -> Answer:
        return Answer(
            status=200,
            fields=[],
            length=17,
            result=Result.MISS,
            cache_status="",
            first=piece(b"first"),
            body=body(),
        )

    monkeypatch.setattr(Engine, "answer", answer)
    async with serve(log={"access": "off"}) as site:
        assert await fetch(site, TARGET) == b"firstmoremoremore"
    assert alive == [1, 1, 1]  # the one that was given last
