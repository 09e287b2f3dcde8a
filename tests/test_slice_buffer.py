"""One slice's bytes: read as they come, by any number."""

import asyncio

import pytest

from edgecache.core.errors import UpstreamError
from edgecache.slice_buffer import PIECE, SliceBuffer


async def test_a_buffer_gives_what_is_there_and_keeps_what_is_not_its_own() -> None:
    buffer = SliceBuffer(10)
    assert bytes(buffer.feed(memoryview(b"abc"))) == b""
    assert bytes(await buffer.wait(0, 10)) == b"abc"
    assert bytes(await buffer.wait(1, 2)) == b"b"
    assert bytes(buffer.feed(memoryview(b"defghijKL"))) == b"KL"
    assert bytes(await buffer.wait(3, 10)) == b"defghij"
    assert buffer.complete


async def test_a_buffer_hands_out_pieces() -> None:
    buffer = SliceBuffer(2 * PIECE)
    buffer.feed(memoryview(bytes(2 * PIECE)))
    assert len(await buffer.wait(1, 2 * PIECE)) == PIECE


async def test_a_buffer_that_failed_still_gives_the_bytes_it_has() -> None:
    buffer = SliceBuffer(10)
    buffer.feed(memoryview(b"abc"))
    buffer.fail(UpstreamError("cut"))
    assert bytes(await buffer.wait(0, 10)) == b"abc"
    with pytest.raises(UpstreamError, match="cut"):
        await buffer.wait(3, 10)


async def test_a_buffer_that_is_whole_cannot_fail() -> None:
    buffer = SliceBuffer(3)
    buffer.feed(memoryview(b"abc"))
    buffer.fail(UpstreamError("cut"))
    assert bytes(await buffer.wait(2, 3)) == b"c"


async def test_a_cancelled_reader_leaves_the_others_waiting() -> None:
    buffer = SliceBuffer(10)
    waits = [asyncio.ensure_future(buffer.wait(0, 10)) for _ in range(3)]  # noqa: TID251
    await asyncio.sleep(0)
    waits[0].cancel()
    await asyncio.sleep(0)
    buffer.feed(memoryview(b"abc"))
    assert [bytes(one) for one in await asyncio.gather(*waits[1:])] == [b"abc", b"abc"]
    assert waits[0].cancelled()


async def test_a_buffer_takes_no_memory_before_its_first_byte() -> None:
    assert len(SliceBuffer(2**30).data) == 0
