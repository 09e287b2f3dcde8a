from collections.abc import Mapping
from dataclasses import replace

import pytest

from edgecache.core.index import Route, StoredResponse, stored_response
from edgecache.core.model import ObjectKey, SliceKey
from edgecache.hits import Hits
from edgecache.store.memory import MemoryStore
from tests.conftest import FakeClock
from tests.pattern import Pattern
from tests.slices import meta_of

SIZE = 1000
LENGTH = 4 * SIZE - 10
ROUTE = Route(label="/", ttl=60, browser_ttl=60)


class Bench:
    """Hits over a store that is a dict; `known` None: nothing fresh is known."""

    def __init__(self, length: int = LENGTH) -> None:
        self.clock = FakeClock()
        self.data = Pattern(length)
        self.store = MemoryStore()
        now = self.clock()
        self.meta = replace(
            meta_of(length=length), date=int(now), request_time=now, response_time=now
        )
        self.known: StoredResponse | None = stored_response(self.meta, ROUTE)
        self.hits = Hits(self.find, self.store.opened, clock=self.clock, slice_size=SIZE)

    def find(self, key: ObjectKey) -> StoredResponse | None:
        assert key == self.meta.key
        return self.known

    async def open(self, *numbers: int) -> None:
        for number in numbers:
            key = SliceKey(self.meta.version, number)
            data = self.data.read(number * SIZE, (number + 1) * SIZE)
            assert await self.store.put(key, self.meta, data)
            await self.store.open(key, self.meta)

    def ask(self, **headers: str) -> tuple[int, bytes, str] | None:
        fields: Mapping[str, str] = {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        hit = self.hits.hit(self.meta.key, fields)
        return hit and (hit.status, b"".join(hit.data), hit.head)


@pytest.mark.parametrize(
    ("range_", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-999", 0, 1000),
        ("bytes=999-1000", 999, 1001),
        ("bytes=500-1999", 500, 2000),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=2100-3500", 2100, 3501),
        ("bytes=3000-", 3000, LENGTH),
        ("bytes=-1990", LENGTH - 1990, LENGTH),
    ],
)
async def test_a_short_range_is_a_hit(range_: str, start: int, stop: int) -> None:
    bench = Bench()
    await bench.open(0, 1, 2, 3)
    bench.clock.advance(7.9)
    found = bench.ask(Range=range_)
    assert found is not None
    status, data, head = found
    assert (status, data) == (206, bench.data.read(start, stop))
    lines = head.split("\r\n")
    assert f"Content-Range: bytes {start}-{stop - 1}/{LENGTH}" in lines
    assert f"Content-Length: {stop - start}" in lines
    assert "Age: 7" in lines
    assert "Cache-Status: edgecache; hit; ttl=52" in lines


@pytest.mark.parametrize("length", [0, 1, SIZE, 2 * SIZE])
async def test_a_small_object_is_a_hit(length: int) -> None:
    bench = Bench(length)
    await bench.open(*range(-(-length // SIZE)))
    found = bench.ask()
    assert found is not None
    assert found[:2] == (200, bench.data.read())
    assert f"Content-Length: {length}" in found[2].split("\r\n")


async def test_what_has_not_changed_needs_no_slice() -> None:
    bench = Bench()
    found = bench.ask(If_None_Match=bench.meta.etag)
    assert found is not None
    assert found[:2] == (304, b"")
    assert "Content-Length" not in found[2]


@pytest.mark.parametrize(
    "headers",
    [
        {},  # four slices
        {"Range": "bytes=0-2000"},  # three of them
        {"Range": "bytes=0-1,2000-2001"},
        {"Range": f"bytes={LENGTH}-"},
        {"If_Match": '"other"'},
    ],
)
async def test_what_is_long_or_rare_has_another_path(headers: dict[str, str]) -> None:
    bench = Bench()
    await bench.open(0, 1, 2, 3)
    assert bench.ask(**headers) is None


async def test_nothing_known_is_none() -> None:
    bench = Bench()
    await bench.open(0)
    bench.known = None
    assert bench.ask(Range="bytes=0-0") is None
    assert bench.ask(If_None_Match=bench.meta.etag) is None


async def test_a_slice_that_is_not_open_is_none() -> None:
    bench = Bench()
    await bench.open(0, 2)
    assert bench.ask(Range="bytes=0-999") is not None
    assert bench.ask(Range="bytes=0-1000") is None
    assert bench.ask(Range="bytes=1999-2000") is None


async def test_a_slice_that_is_not_in_memory_is_none() -> None:
    bench = Bench()
    await bench.open(0)
    bench.store.cold = True
    assert bench.ask(Range="bytes=0-0") is None
