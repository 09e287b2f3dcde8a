"""What the tests of the origin's wire share."""

import pytest

from edgecache.config_fetch import Fetch
from edgecache.core.errors import EdgecacheError
from edgecache.core.model import ObjectKey
from edgecache.core.ranges import IntRange, RangeSpec
from edgecache.core.reply import Found
from edgecache.upstream import Body, S3Upstream
from tests.pattern import Pattern

KEY = ObjectKey("volume", "outputs/clip.mp4")
DATA = Pattern(300_000)
# Long beside what a busy machine may hold up an origin that is well.
QUICK = Fetch(connect_timeout=1, first_byte_timeout=1, stall_timeout=1, connections=4)
START = IntRange(0, 99_999)


async def get(upstream: S3Upstream, range_: RangeSpec | None = None) -> tuple[Found, Body]:
    found, body = await upstream.get(KEY, range_)
    assert isinstance(found, Found)
    return found, body


async def read(body: Body) -> bytes:
    data = b""
    while piece := await body.read():
        data += piece
    body.close()
    return data


async def failure_of(upstream: S3Upstream) -> EdgecacheError:
    with pytest.raises(EdgecacheError) as caught:
        await upstream.get(KEY, START)
    return caught.value
