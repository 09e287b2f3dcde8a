from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from edgecache.body import begun
from edgecache.core.answer import body_length
from edgecache.core.errors import UpstreamError
from edgecache.core.index import Route, stored_response
from edgecache.core.model import ByteSpan, Source
from edgecache.core.plan import Plan
from edgecache.request import Piece
from tests.pattern import Pattern
from tests.slices import meta_of

LENGTH = 1000
DATA = Pattern(LENGTH)
STORED = stored_response(replace(meta_of(length=LENGTH)), Route(label="/", ttl=60, browser_ttl=60))
ONE = Plan(206, (ByteSpan(10, 450),))
MANY = Plan(206, (ByteSpan(500, 700), ByteSpan(0, 3), ByteSpan(999, 1000)))


class Reads:
    """Pieces of a hundred bytes; what is read from `fail_at` on fails."""

    def __init__(self, fail_at: int = LENGTH) -> None:
        self.fail_at = fail_at
        self.spans: list[ByteSpan] = []
        self.open = 0

    async def __call__(self, span: ByteSpan) -> AsyncGenerator[Piece, None]:
        self.spans.append(span)
        self.open += 1
        try:
            for start in range(span.start, span.stop, 100):
                if start >= self.fail_at:
                    raise UpstreamError("failed")
                yield Source.FILL, DATA.read(start, min(start + 100, span.stop))
        finally:
            self.open -= 1


async def everything(plan: Plan, boundary: str, reads: Reads) -> bytes:
    first, body = await begun(STORED, plan, boundary, reads)
    data = bytes(first[1])
    async with aclosing(body):
        async for _, piece in body:
            data += piece
    return data


async def test_one_span_is_its_bytes() -> None:
    assert await everything(ONE, "", Reads()) == DATA.read(10, 450)


async def test_several_spans_are_parts_in_their_order() -> None:
    reads = Reads()
    data = await everything(MANY, "xyz", reads)
    assert data == b"".join(
        (
            b"\r\n--xyz\r\nContent-Type: video/mp4\r\nContent-Range: bytes 500-699/1000\r\n\r\n",
            DATA.read(500, 700),
            b"\r\n--xyz\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-2/1000\r\n\r\n",
            DATA.read(0, 3),
            b"\r\n--xyz\r\nContent-Type: video/mp4\r\nContent-Range: bytes 999-999/1000\r\n\r\n",
            DATA.read(999, 1000),
            b"\r\n--xyz--\r\n",
        )
    )
    assert len(data) == body_length(STORED, MANY, "xyz")
    assert reads.spans == list(MANY.spans)


async def test_the_first_piece_is_there_before_the_others() -> None:
    reads = Reads()
    first, body = await begun(STORED, ONE, "", reads)
    assert first == (Source.FILL, DATA.read(10, 110))
    assert reads.open == 1
    await body.aclose()
    assert reads.open == 0


async def test_what_fails_at_once_fails_before_there_is_a_body() -> None:
    reads = Reads(fail_at=0)
    with pytest.raises(UpstreamError):
        await begun(STORED, ONE, "", reads)
    assert reads.open == 0


async def test_what_fails_later_fails_in_the_body() -> None:
    reads = Reads(fail_at=600)
    with pytest.raises(UpstreamError):
        await everything(MANY, "xyz", reads)
    assert reads.spans == list(MANY.spans[:1])
    assert reads.open == 0


async def test_one_who_leaves_in_a_part_closes_it() -> None:
    reads = Reads()
    _, body = await begun(STORED, MANY, "xyz", reads)
    await anext(body)
    assert reads.open == 1
    await body.aclose()
    assert reads.open == 0
