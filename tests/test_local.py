"""A worker's answers against the engine's, over the same slices; and what happens when they go."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from multidict import CIMultiDict

from edgecache.core.errors import UpstreamError, VersionChanged
from edgecache.core.index import StoredResponse
from edgecache.core.model import ByteSpan, ObjectMeta, SliceKey, Source
from edgecache.core.validators import format_http_date
from edgecache.generations import Generations
from edgecache.local import Local
from edgecache.request import Answer, ObjectRequest, Piece
from edgecache.shelf import Shelf
from edgecache.store.disk import DiskStore
from edgecache.store.reader import ReadStore
from tests.conftest import FakeClock
from tests.pattern import Pattern
from tests.slices import slice_files
from tests.stack import KEY, ROUTE, SIZE, Stack
from tests.store.support import held_files, removed_files

LENGTH = 6 * SIZE - 10
PIECE = 300
MODIFIED = 1_749_000_000


def meta_of(length: int = LENGTH, clock: float = 1_750_000_000.0) -> ObjectMeta:
    return ObjectMeta(
        key=KEY,
        etag='"a"',
        origin_etag='"a"',
        length=length,
        last_modified=MODIFIED,
        date=int(clock) - 5,
        request_time=clock - 3,
        response_time=clock - 2,
        headers=(
            ("content-type", "video/mp4"),
            ("content-language", "de"),
            ("content-disposition", "inline"),
            ("cache-control", "max-age=50"),
            ("x-amz-meta-caf\udce9", "caf\udce9"),
        ),
    )


def request_of(headers: dict[str, str], method: str = "GET") -> ObjectRequest:
    return ObjectRequest(method=method, key=KEY, route=ROUTE, headers=CIMultiDict(headers))


class Bench:
    """The keeper's store, a worker that reads it, and an elsewhere that says what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.store = DiskStore(directory, limit=2**24, slice_size=SIZE)
        self.reader = ReadStore(directory, slice_size=SIZE, most_open=20)
        self.generations = Generations()
        self.shelf = Shelf(self.reader, self.generations, clock=self.clock)
        self.local = Local(
            self.shelf, self.reader, self.elsewhere, slice_size=SIZE, token=lambda: "boundary"
        )
        self.data = Pattern(LENGTH)
        self.asked: list[ByteSpan] = []
        self.running = 0
        self.error: Exception | None = None
        self.given = 2**62  # bytes that elsewhere gives before it fails, or ends

    async def elsewhere(
        self, stored: StoredResponse, span: ByteSpan
    ) -> AsyncGenerator[bytes, None]:
        assert stored.meta.key == KEY
        self.asked.append(span)
        self.running += 1
        try:
            end = min(span.stop, span.start + self.given)
            for start in range(span.start, end, 77):
                await asyncio.sleep(0)
                yield self.data.read(start, min(end, start + 77))
            if self.error is not None:
                raise self.error
        finally:
            self.running -= 1

    async def fill(self, meta: ObjectMeta, *, without: frozenset[int] = frozenset()) -> None:
        self.data = Pattern(meta.length)
        await self.store.save_meta(meta)
        for number in range(-(-meta.length // SIZE)):
            if number not in without:
                data = self.data.read(number * SIZE, (number + 1) * SIZE)
                assert await self.store.put(SliceKey(meta.version, number), meta, data)

    def file(self, number: int) -> Path:
        (file,) = (f for f in slice_files(self.directory) if f.name.endswith(f"-{number}"))
        return file

    async def remove(self, *numbers: int) -> None:
        for number in numbers:
            self.file(number).unlink()
        await self.reader.release()

    async def get(self, range_: str = "") -> Answer:
        answer = await self.local.answer(request_of({"Range": range_} if range_ else {}))
        assert answer is not None
        return answer


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr("edgecache.local.PIECE", PIECE)
    monkeypatch.setattr("edgecache.local.MOST_AT_HAND", 0)
    bench = Bench(tmp_path / "cache")
    await bench.store.start()
    yield bench
    await bench.reader.close()
    await bench.store.close()


async def body_of(answer: Answer) -> tuple[bytes, set[Source | None]]:
    if answer.first is None or answer.body is None:
        assert answer.first is None
        assert answer.body is None
        return b"", set()
    data, sources = bytes(answer.first[1]), {answer.first[0]}
    async with aclosing(answer.body):
        async for source, piece in answer.body:
            data += piece
            sources.add(source)
    return data, sources


WHEN = format_http_date(MODIFIED)
REQUESTS = [
    {},
    {"Range": "bytes=0-0"},
    {"Range": "bytes=10-2500"},
    {"Range": "bytes=999-1000"},
    {"Range": "bytes=1000-1999"},
    {"Range": "bytes=5000-"},
    {"Range": "bytes=0-"},
    {"Range": "bytes=-1"},
    {"Range": "bytes=-99999"},
    {"Range": "bytes=0-9,5-2000,4000-4001"},
    {"Range": "bytes=4000-4001,0-1"},
    {"Range": "bytes=0-1,-1,3000-3999"},
    {"Range": f"bytes={LENGTH}-"},
    {"Range": "bytes=-0"},
    {"Range": "bytes=9-1"},
    {"Range": "lines=1-2"},
    {"Range": "bytes=0-1", "If-Range": '"a"'},
    {"Range": "bytes=0-1", "If-Range": '"b"'},
    {"Range": "bytes=0-1", "If-Range": WHEN},
    {"If-None-Match": '"a"'},
    {"If-None-Match": 'W/"a", "b"'},
    {"If-None-Match": "*"},
    {"If-None-Match": '"b"'},
    {"If-Modified-Since": WHEN},
    {"If-Modified-Since": format_http_date(MODIFIED - 1)},
    {"If-Match": '"b"'},
    {"If-Match": '"a"', "Range": "bytes=1-3"},
    {"If-Unmodified-Since": format_http_date(MODIFIED - 1)},
    {"If-None-Match": '"a"', "Range": "bytes=1-3"},
]


@pytest.mark.parametrize("length", [LENGTH, 6 * SIZE, SIZE, 1, 0])
async def test_answers_are_the_engines(bench: Bench, length: int) -> None:
    meta = meta_of(length)
    await bench.fill(meta)
    stack = Stack(bench.clock)
    await stack.store.save_meta(meta)
    for number in range(-(-length // SIZE)):
        data = bench.data.read(number * SIZE, (number + 1) * SIZE)
        await stack.store.put(SliceKey(meta.version, number), meta, data)
    statuses = set()
    for headers in REQUESTS:
        for method in ("GET", "HEAD"):
            request = request_of(headers, method)
            answer, expected = await bench.local.answer(request), await stack.engine.answer(request)
            assert answer is not None
            found, wanted = await body_of(answer), await body_of(expected)
            assert found == wanted, (method, headers)
            assert found[1] <= {Source.CACHE}
            assert replace(answer, first=None, body=None) == replace(
                expected, first=None, body=None
            )
            statuses.add(answer.status)
            bench.clock.advance(0.3)
    assert statuses >= {200, 206, 304, 412, 416} if length > 1 else {200, 304, 412, 416}
    assert (stack.upstream.steps, bench.asked) == (0, [])


async def test_what_is_unknown_is_none(bench: Bench) -> None:
    assert await bench.local.answer(request_of({})) is None


@pytest.mark.parametrize("headers", [{}, {"If-None-Match": '"a"'}, {"Range": "bytes=99999-"}])
async def test_what_is_stale_is_none(bench: Bench, headers: dict[str, str]) -> None:
    await bench.fill(meta_of())
    assert await bench.local.answer(request_of(headers)) is not None
    bench.clock.advance(50)
    assert await bench.local.answer(request_of(headers)) is None


async def test_what_is_being_changed_is_none(bench: Bench) -> None:
    await bench.fill(meta_of())
    settle = bench.generations.begin(KEY)
    assert await bench.local.answer(request_of({})) is None
    settle()
    assert await bench.local.answer(request_of({})) is not None


@pytest.mark.parametrize(
    ("range_", "covered"),
    [
        ("", False),
        ("bytes=0-2999", True),
        ("bytes=0-3000", False),
        ("bytes=3999-3999", False),
        ("bytes=4000-", True),
        ("bytes=0-1,4000-4001", True),
        ("bytes=0-1,2000-2001,3000-3001", False),
        ("bytes=0-1,2000-2001,4000-4001,5000-5001", True),
    ],
)
async def test_what_is_partly_there_is_none(bench: Bench, range_: str, covered: bool) -> None:
    await bench.fill(meta_of(), without=frozenset({3}))
    answer = await bench.local.answer(request_of({"Range": range_} if range_ else {}))
    assert (answer is not None) == covered
    head = await bench.local.answer(request_of({}, "HEAD"))
    assert head is not None


async def test_nobody_counts_the_slices_of_a_giant(bench: Bench) -> None:
    """Of which a row is there, and one slice: a trillion numbers would take an hour."""
    meta = meta_of(10**15)
    await bench.store.save_meta(meta)
    await bench.store.put(SliceKey(meta.version, 0), meta, Pattern(10**15).read(0, SIZE))
    assert await bench.local.answer(request_of({})) is None
    assert await bench.local.answer(request_of({"Range": "bytes=0-999"})) is not None


async def test_a_row_without_a_file_is_no_slice(bench: Bench) -> None:
    await bench.fill(meta_of())
    await bench.remove(0)
    assert await bench.local.answer(request_of({})) is None
    assert bench.asked == []


@pytest.mark.parametrize("taken", range(1, 24))
async def test_what_is_evicted_in_the_middle_comes_from_elsewhere(bench: Bench, taken: int) -> None:
    await bench.fill(meta_of())
    answer = await bench.get()
    assert answer.body is not None
    assert answer.first is not None
    data = bytes(answer.first[1])
    for _ in range(taken - 1):
        data += (await anext(answer.body))[1]
    await bench.remove(*range(6))
    assert held_files(bench.directory) == []
    position = len(data)
    sources = set()
    async for source, piece in answer.body:
        data += piece
        sources.add(source)
    assert data == bench.data.read()
    if position < LENGTH:
        assert sources == {None}
        assert bench.asked == [ByteSpan(position, LENGTH)]


async def test_a_part_goes_on_elsewhere_and_the_next_one_here(bench: Bench) -> None:
    await bench.fill(meta_of())
    whole, _ = await body_of(await bench.get("bytes=100-1899,3000-3001,5000-"))
    answer = await bench.get("bytes=100-1899,3000-3001,5000-")
    assert answer.first is not None
    assert answer.body is not None
    data = bytes(answer.first[1]) + bytes((await anext(answer.body))[1])
    await bench.remove(0, 3)
    async for _, piece in answer.body:
        data += piece
    assert data == whole
    assert len(data) == answer.length
    assert bench.asked == [ByteSpan(400, 1900), ByteSpan(3000, 3002)]


async def test_a_slow_reader_holds_no_slice_that_is_gone(bench: Bench) -> None:
    await bench.fill(meta_of())
    answer = await bench.get()
    assert answer.body is not None
    for number in range(5):
        await anext(answer.body)
        await bench.remove(number)
        assert removed_files(bench.directory) == []
    await answer.body.aclose()


async def test_a_damaged_slice_is_never_given(bench: Bench) -> None:
    await bench.fill(meta_of())
    for number in (0, 4):
        data = bytearray(bench.file(number).read_bytes())
        data[-1] ^= 1
        bench.file(number).write_bytes(data)
    assert await bench.local.answer(request_of({})) is None
    assert await bench.local.answer(request_of({"Range": "bytes=5-6"})) is None
    assert await body_of(await bench.get("bytes=1500-")) == (
        bench.data.read(1500, LENGTH),
        {Source.CACHE, None},
    )
    assert bench.asked == [ByteSpan(4000, LENGTH)]


async def test_a_slice_that_is_cut_while_it_is_read_goes_on_elsewhere(bench: Bench) -> None:
    await bench.fill(meta_of())
    answer = await bench.get("bytes=0-999")
    bench.file(0).write_bytes(b"")
    assert await body_of(answer) == (bench.data.read(0, 1000), {Source.CACHE, None})
    assert bench.asked == [ByteSpan(PIECE, 1000)]


async def taken(body: AsyncGenerator[Piece, None], count: int) -> list[Piece]:
    return [await anext(body) for _ in range(count)]


async def gone_at_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found to be covered is not there when it is read."""
    await bench.fill(meta_of())

    async def covers(*_: object) -> bool:
        await bench.remove(*range(6))
        return True

    monkeypatch.setattr(bench.local, "_covers", covers)


async def test_an_error_before_the_head_comes_through(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gone_at_first(bench, monkeypatch)
    bench.given, bench.error = 0, UpstreamError("gone")
    with pytest.raises(UpstreamError, match="gone"):
        await bench.get()
    assert bench.running == 0


async def test_another_version_before_the_head_is_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gone_at_first(bench, monkeypatch)
    bench.given, bench.error = 0, VersionChanged("replaced")
    assert await bench.local.answer(request_of({})) is None


@pytest.mark.parametrize("error", [UpstreamError("gone"), VersionChanged("replaced"), None])
async def test_an_answer_that_fails_in_the_middle_says_so(
    bench: Bench, error: Exception | None
) -> None:
    """Also one that elsewhere leaves off without a word."""
    await bench.fill(meta_of())
    answer = await bench.get("bytes=0-1500,3000-")
    assert answer.body is not None
    await anext(answer.body)
    await bench.remove(*range(6))
    bench.given, bench.error = 100, error
    got = [piece for _, piece in await taken(answer.body, 2)]
    assert b"".join(got) == bench.data.read(PIECE, PIECE + 100)
    with pytest.raises(UpstreamError, match=str(error or "short")):
        await anext(answer.body)
    assert bench.running == 0


async def test_what_is_short_comes_slice_by_slice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecache.local.MOST_AT_HAND", 2)
    await bench.fill(meta_of())
    for range_, sizes in (("bytes=500-1599", [500, 600]), ("bytes=500-2599", [PIECE])):
        answer = await bench.get(range_)
        assert answer.first is not None
        got = [answer.first, *([piece async for piece in answer.body] if answer.body else [])]
        assert [len(piece) for _, piece in got[: len(sizes)]] == sizes


async def test_one_who_leaves_leaves_elsewhere_at_once(bench: Bench) -> None:
    await bench.fill(meta_of())
    answer = await bench.get("bytes=0-3000,4000-5000")
    assert answer.body is not None
    await anext(answer.body)
    await bench.remove(*range(6))
    await anext(answer.body)
    assert bench.running == 1
    await answer.body.aclose()
    assert bench.running == 0
