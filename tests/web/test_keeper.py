"""The worker's connections to the keeper: framing, greeting, pool."""

import asyncio
from pathlib import Path

import pytest

from edgecache.core.errors import Unavailable
from edgecache.web.keeper import Head, KeeperLost, Keepers, parse_head
from tests.relaying import Caller, scripted
from tests.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Sink:
    """Takes all."""

    def __init__(self) -> None:
        self.data = b""
        self.interims: list[bytes] = []

    def begin(self, head: Head, data: bytes) -> bool:
        return self.more(data)

    def more(self, data: bytes) -> bool:
        self.data += data
        return True

    def interim(self, data: bytes) -> None:
        self.interims.append(data)

    def room(self) -> int:
        return 2**16


def soon(seconds: float = 5) -> float:
    return asyncio.get_running_loop().time() + seconds


async def always_ok(caller: Caller) -> None:
    while True:
        await caller.head()
        await caller.send(OK)


@pytest.mark.parametrize(
    ("head", "bodiless", "expected"),
    [
        (b"200 OK\r\nContent-Length: 12\r\n", False, (200, 12, False)),
        (b"206 Partial Content\r\nX: y\r\ncontent-length:7\r\n", False, (206, 7, False)),
        (b"200 OK\r\nContent-Length: 12\r\n", True, (200, 0, False)),
        (b"304 Not Modified\r\n", False, (304, 0, False)),
        (b"204 No Content\r\nContent-Length: 5\r\n", False, (204, 0, False)),
        (b"103 Early Hints\r\n", False, (103, 0, False)),
        (b"405 No\r\nContent-Length: 0\r\nConnection: close\r\n", False, (405, 0, True)),
    ],
)
def test_a_head(head: bytes, bodiless: bool, expected: tuple[int, int, bool]) -> None:
    data = b"HTTP/1.1 " + head + b"\r\n"
    status, length, closes = expected
    found = parse_head(data + b"body", len(data), bodiless=bodiless)
    assert found == Head(status, len(data), length, closes)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: one\r\n\r\n",
        b"edgecache-relay 1\n\r\n\r\n",
    ],
)
def test_what_is_no_head_of_ours(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_head(head, len(head), bodiless=False)


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_answer_in_pieces(tmp_path: Path, size: int) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

    async def script(caller: Caller) -> None:
        data = interim + OK
        await caller.head()
        for start in range(0, len(data), size):
            await caller.send(data[start : start + size])
            await asyncio.sleep(0)
        await caller.head()

    keepers, sink = Keepers(str(tmp_path / "k")), Sink()
    async with scripted(tmp_path / "k", script):
        connection = await keepers.take(soon())
        connection.ask(b"GET / HTTP/1.1\r\n\r\n", sink)
        await connection.full_or_ended()
        assert (sink.data, sink.interims) == (OK, [interim])
        assert connection.is_reusable
        keepers.close()


@pytest.mark.parametrize("extra", [b"x", OK])
async def test_more_than_was_announced_is_not_handed_on(tmp_path: Path, extra: bytes) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(OK + extra)
        await caller.head()

    keepers, sink = Keepers(str(tmp_path / "k")), Sink()
    async with scripted(tmp_path / "k", script):
        connection = await keepers.take(soon())
        connection.ask(b"GET / HTTP/1.1\r\n\r\n", sink)
        with pytest.raises(KeeperLost) as lost:
            await connection.full_or_ended()
        assert lost.value.answered
        assert sink.data == b""
        keepers.close()


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"edgecache-relay 2\n"])
async def test_what_does_not_greet_is_no_keeper(tmp_path: Path, greeting: bytes) -> None:
    async def script(caller: Caller) -> None:
        await caller.send(greeting)
        await caller.head()

    keepers = Keepers(str(tmp_path / "k"))
    async with scripted(tmp_path / "k", script, greets=False):
        with pytest.raises(Unavailable) as refused:
            await keepers.take(soon(0.02))
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    assert repr(keepers) == "<Keepers 0 open, 0 idle>"


async def test_a_greeting_in_pieces(tmp_path: Path) -> None:
    async def script(caller: Caller) -> None:
        for byte in b"edgecache-relay 1\n":
            await caller.send(bytes([byte]))
            await asyncio.sleep(0)
        await caller.head()

    keepers = Keepers(str(tmp_path / "k"))
    async with scripted(tmp_path / "k", script, greets=False):
        assert (await keepers.take(soon())).is_open
        keepers.close()


async def test_the_last_used_is_the_next_and_no_more_are_kept_than_allowed(tmp_path: Path) -> None:
    keepers = Keepers(str(tmp_path / "k"), most_idle=2)
    async with scripted(tmp_path / "k", always_ok) as callers:
        taken = [await keepers.take(soon()) for _ in range(3)]
        for connection in taken:
            connection.ask(b"GET / HTTP/1.1\r\n\r\n", Sink())
            await connection.full_or_ended()
            keepers.give(connection)
        await until(lambda: repr(keepers) == "<Keepers 2 open, 2 idle>")
        assert await keepers.take(soon()) is taken[1]
        assert await keepers.take(soon()) is taken[0]
        assert await keepers.take(soon()) not in taken
        assert len(callers) == 4
        keepers.close()
        await until(lambda: repr(keepers) == "<Keepers 0 open, 0 idle>")


@pytest.mark.parametrize("last_words", [b"", b"x"])
async def test_an_idle_connection_that_does_anything_is_not_used(
    tmp_path: Path, last_words: bytes
) -> None:
    end = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.send(OK)
        await end.wait()
        await caller.send(last_words)

    keepers = Keepers(str(tmp_path / "k"))
    async with scripted(tmp_path / "k", script):
        connection = await keepers.take(soon())
        connection.ask(b"GET / HTTP/1.1\r\n\r\n", Sink())
        await connection.full_or_ended()
        keepers.give(connection)
        end.set()
        await until(lambda: repr(keepers) == "<Keepers 0 open, 0 idle>")
        assert not connection.is_open
