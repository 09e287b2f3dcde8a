"""The body of an answer: its pieces, one span after the other, from wherever they come."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from edgecache.core.index import StoredResponse
from edgecache.core.model import ByteSpan, Source
from edgecache.core.plan import Plan
from edgecache.core.ranges import part_head, parts_end
from edgecache.request import Piece

Pieces = AsyncGenerator[Piece, None]
Read = Callable[[ByteSpan], Pieces]


async def begun(
    stored: StoredResponse, plan: Plan, boundary: str, read: Read
) -> tuple[Piece, Pieces]:
    """The first piece, so that a body that fails at once fails before its head; then the others."""
    body = _parts(stored, plan, boundary, read) if boundary else read(plan.spans[0])
    try:
        return await anext(body), body
    except BaseException:
        await body.aclose()
        raise


async def _parts(stored: StoredResponse, plan: Plan, boundary: str, read: Read) -> Pieces:
    for span in plan.spans:
        yield Source.CACHE, part_head(boundary, stored.content_type, span, stored.meta.length)
        async with aclosing(read(span)) as pieces:
            async for piece in pieces:
                yield piece
    yield Source.CACHE, parts_end(boundary)
