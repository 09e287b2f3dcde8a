from email import message_from_bytes, policy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecache.core.model import ByteSpan
from edgecache.core.ranges import (
    BEYOND_ANY_OBJECT,
    MAX_RANGES,
    ContentRange,
    IntRange,
    RangeSpec,
    SuffixRange,
    format_content_range,
    parse_content_range,
    parse_range,
    part_head,
    parts_end,
    parts_length,
    satisfy,
    select,
    slice_span,
    slices_of,
)

bounded = settings(max_examples=200, deadline=None)


@pytest.mark.parametrize(
    ("value", "specs"),
    [
        pytest.param("bytes=0-", (IntRange(0, None),), id="safari-and-chromium-video"),
        pytest.param("bytes=0-1", (IntRange(0, 1),), id="safari-probe"),
        pytest.param("BYTES=0-9", (IntRange(0, 9),), id="14.1-unit-in-any-case"),
        pytest.param("bytes=0-0,-1", (IntRange(0, 0), SuffixRange(1)), id="14.1.2-first-and-last"),
        pytest.param(
            "bytes=500-600,601-999", (IntRange(500, 600), IntRange(601, 999)), id="14.1.2-adjacent"
        ),
        pytest.param("bytes=0-1 ,\t2-3", (IntRange(0, 1), IntRange(2, 3)), id="5.6.1-OWS"),
        pytest.param("bytes=,0-1,,2-3,", (IntRange(0, 1), IntRange(2, 3)), id="5.6.1.2-empty"),
        pytest.param("bytes= ,0-1", (IntRange(0, 1),), id="5.6.1.2-empty-first-element"),
        pytest.param("  bytes=0-1\t", (IntRange(0, 1),), id="5.5-OWS-around-the-value"),
        pytest.param("bytes=007-0008", (IntRange(7, 8),), id="leading-zeros"),
        pytest.param("bytes=-0", (SuffixRange(0),), id="14.1.2-suffix-of-nothing"),
        pytest.param("bytes=0-" + "9" * 40, (IntRange(0, 10**18),), id="last-of-40-digits"),
        pytest.param("bytes=0-" + "9" * 6000, (IntRange(0, 10**18),), id="last-of-6000-digits"),
        pytest.param("bytes=" + "9" * 6000 + "-", (IntRange(10**18, None),), id="first-huge"),
        pytest.param("bytes=-" + "9" * 19, (SuffixRange(10**18),), id="suffix-huge"),
        pytest.param("bytes=0-" + "0" * 30 + "5", (IntRange(0, 5),), id="zeros-are-no-magnitude"),
        pytest.param("bytes=" + "9" * 18 + "-", (IntRange(10**18 - 1, None),), id="18-digits"),
    ],
)
def test_parse_range(value: str, specs: tuple[RangeSpec, ...]) -> None:
    assert parse_range(value) == specs


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= , ,",
        "bytes=-",
        "bytes=--1",
        "bytes=-1-",
        "bytes=1",
        "bytes=a-b",
        "bytes=0-x",
        "bytes=9-0",
        "bytes=1-" + "0" * 30,
        "bytes=" + "9" * 5001 + "-" + "9" * 5000,
        "bytes=0-9,9-0",
        "bytes=0-9,garbage",
        "bytes=0-9;10-19",
        "bytes =0-9",
        "bytes= 0-9",
        "bytes= 0-999, 4500-5499, -1000",
        "bytes=0- 9",
        "bytes=0 -9",
        "bytes=0-9\n",
        "bytes=0-9\r\nX: y",
        "bytes=\x0b0-9",
        "bytes=\xa00-9",
        "bytes=0-9,\u20030-9",
        "bytes=+0-9",
        "bytes=0-+9",
        "bytes=0x0-0x9",
        "bytes=1_0-2_0",
        "bytes=٠-٩",  # Arabic-Indic digits: aiohttp's CVE-2025-69225
        "bytes=０-９",  # full-width
        "bytes=²-",
        "bytes=0–9",  # an en dash
        "bytes:0-9",
        "bytes 0-9",
        "bytes 0-9/10",
        "items=0-9",
        "none",
        "ſytes=0-9",
        "bytes=bytes=0-9",
        "bytes=0-9," * 2000,
        "bytes=" + " " * 8000,
        "bytes=" + "," * 8000,
    ],
)
def test_ignored_not_refused(value: str | None) -> None:
    """RFC 9110 §14.2."""
    assert parse_range(value) is None


def test_more_than_max_ranges_are_ignored() -> None:
    assert len(parse_range("bytes=" + ",".join(["0-0"] * MAX_RANGES)) or ()) == MAX_RANGES
    assert parse_range("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1))) is None
    # Counted before parsing: the elements over the count need not even be ranges.
    assert parse_range("bytes=" + ",".join(["0-0"] * MAX_RANGES) + ",?" * 1000) is None


@pytest.mark.parametrize(
    ("spec", "length", "span"),
    [
        (IntRange(0, 0), 10, ByteSpan(0, 1)),
        (IntRange(0, 9), 10, ByteSpan(0, 10)),
        (IntRange(0, None), 10, ByteSpan(0, 10)),
        (IntRange(3, 5), 10, ByteSpan(3, 6)),
        (IntRange(9, None), 10, ByteSpan(9, 10)),
        (IntRange(5, 99), 10, ByteSpan(5, 10)),
        (IntRange(5, BEYOND_ANY_OBJECT), 10, ByteSpan(5, 10)),
        (IntRange(10, None), 10, None),
        (IntRange(10, 20), 10, None),
        (IntRange(BEYOND_ANY_OBJECT, None), 10, None),
        (IntRange(0, None), 0, None),
        (SuffixRange(3), 10, ByteSpan(7, 10)),
        (SuffixRange(10), 10, ByteSpan(0, 10)),
        (SuffixRange(20), 10, ByteSpan(0, 10)),
        (SuffixRange(BEYOND_ANY_OBJECT), 10, ByteSpan(0, 10)),
        (SuffixRange(0), 10, None),
        (SuffixRange(0), 0, None),
        (SuffixRange(1), 0, ByteSpan(0, 0)),
    ],
)
def test_select(spec: RangeSpec, length: int, span: ByteSpan | None) -> None:
    """RFC 9110 §14.1.2."""
    assert select(spec, length) == span


@pytest.mark.parametrize(
    ("value", "length", "span"),
    [
        pytest.param("bytes=-5", 10, (5, 10), id="partial-store-partial-reuse-partial"),
        pytest.param("bytes=0-1", 11, (0, 2), id="partial-store-complete-reuse-partial"),
        pytest.param("bytes=1-", 11, (1, 11), id="partial-store-complete-reuse-partial-no-last"),
        pytest.param("bytes=-1", 11, (10, 11), id="partial-store-complete-reuse-partial-suffix"),
        pytest.param("bytes=6-8", 10, (6, 9), id="partial-store-partial-reuse-partial-byterange"),
        pytest.param("bytes=6-", 10, (6, 10), id="partial-store-partial-reuse-partial-absent"),
        pytest.param("bytes=-1", 10, (9, 10), id="partial-store-partial-reuse-partial-suffix"),
    ],
)
def test_ranges_of_the_cache_tests(value: str, length: int, span: tuple[int, int]) -> None:
    assert satisfy(parse_range(value) or (), length) == (ByteSpan(*span),)


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=100-", []),
        ("bytes=100-,-0", []),
        ("bytes=0-0,-1", [(0, 1), (99, 100)]),
        ("bytes=-1,0-0", [(99, 100), (0, 1)]),  # the order of the request
        ("bytes=0-9,200-300", [(0, 10)]),  # what cannot be satisfied falls out
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=10-19,0-9", [(0, 20)]),
        ("bytes=0-9,11-19", [(0, 10), (11, 20)]),
        ("bytes=0-50,20-30", [(0, 51)]),
        ("bytes=20-30,0-50", [(0, 51)]),
        ("bytes=90-,0-9,5-20,80-95", [(80, 100), (0, 21)]),
        ("bytes=50-59,0-9,40-49,60-", [(40, 100), (0, 10)]),
        ("bytes=0-9,20-29,10-19", [(0, 30)]),
        ("bytes=" + ",".join(["0-"] * MAX_RANGES), [(0, 100)]),  # Apache Killer
        ("bytes=" + ",".join(f"{n}-" for n in range(MAX_RANGES)), [(0, 100)]),
    ],
)
def test_satisfy_100_bytes(value: str, spans: list[tuple[int, int]]) -> None:
    specs = parse_range(value)
    assert specs is not None
    assert satisfy(specs, 100) == tuple(ByteSpan(*span) for span in spans)


def test_a_suffix_of_an_empty_object_is_the_empty_span() -> None:
    assert satisfy([SuffixRange(5), SuffixRange(1)], 0) == (ByteSpan(0, 0),)
    assert satisfy([IntRange(0, None)], 0) == ()


positions = st.integers(0, 60)
int_ranges = st.builds(
    lambda first, more: IntRange(first, None if more is None else first + more),
    positions,
    positions | st.none(),
)
range_specs = st.lists(int_ranges | st.builds(SuffixRange, positions), max_size=MAX_RANGES)


@bounded
@given(range_specs, st.integers(1, 50))
def test_satisfy_answers_each_byte_asked_for_once(specs: list[RangeSpec], length: int) -> None:
    spans = satisfy(specs, length)
    answered = [position for span in spans for position in range(span.start, span.stop)]
    asked = {
        position
        for span in (select(spec, length) for spec in specs)
        if span is not None
        for position in range(span.start, span.stop)
    }
    assert len(answered) == len(set(answered)) <= length
    assert set(answered) == asked
    assert all(spans)
    stops = {span.stop for span in spans}
    assert not any(span.start in stops for span in spans), "adjacent spans are one"


@bounded
@given(st.text("0123456789-, \tbytesBYTES=x", max_size=40) | st.text(max_size=20))
def test_any_range_is_ignored_or_selects_within_the_object(value: str) -> None:
    for length in (0, 1, 10):
        for prefix in ("", "bytes="):
            specs = parse_range(prefix + value)
            for span in satisfy(specs or (), length):
                assert 0 <= span.start <= span.stop <= length


@bounded
@given(st.integers(0, 10**40), st.integers(0, 10**40))
def test_positions_of_any_size_compare_as_numbers(first: int, last: int) -> None:
    specs = parse_range(f"bytes={first}-{last}")
    if last < first:
        assert specs is None
    else:
        assert specs == (IntRange(min(first, 10**18), min(last, 10**18)),)


@pytest.mark.parametrize(
    ("value", "content_range"),
    [
        ("bytes 0-9/100", ContentRange(ByteSpan(0, 10), 100)),
        ("bytes 99-99/100", ContentRange(ByteSpan(99, 100), 100)),
        ("bytes 0-9/*", ContentRange(ByteSpan(0, 10), None)),
        ("bytes */100", ContentRange(None, 100)),
        ("bytes */0", ContentRange(None, 0)),
        ("BYTES 0-9/100", ContentRange(ByteSpan(0, 10), 100)),
        (" bytes 0-9/100\t", ContentRange(ByteSpan(0, 10), 100)),
        ("bytes 042-1233/01234", ContentRange(ByteSpan(42, 1234), 1234)),
        ("bytes */*", None),
        ("", None),
        ("bytes", None),
        ("bytes 0-9", None),
        ("bytes 0-9/", None),
        ("bytes=0-9/100", None),
        ("bytes  0-9/100", None),
        ("bytes 0-9 /100", None),
        ("bytes 0-/100", None),
        ("bytes -9/100", None),
        ("bytes 9-0/100", None),
        ("bytes 0-100/100", None),
        ("bytes 0-0/0", None),
        ("bytes -1-9/100", None),
        ("bytes 0-9/-1", None),
        ("bytes a-b/c", None),
        ("bytes 0-9/1e3", None),
        ("bytes 0-9/100, bytes 0-9/100", None),
        ("bytes 0-9/100\n", None),
        ("items 0-9/100", None),
        ("bytes ٠-٩/١٠٠", None),
        pytest.param("bytes 0-9/" + "9" * 40, None, id="U11-40-digits"),
        pytest.param("bytes 0-" + "9" * 6000 + "/*", None, id="U11-6000-digits"),
    ],
)
def test_parse_content_range(value: str, content_range: ContentRange | None) -> None:
    """RFC 9110 §14.4; U06-U11 for the malformed ones."""
    assert parse_content_range(value) == content_range


def test_content_range_of_the_whole() -> None:
    assert format_content_range(ByteSpan(0, 10), 100) == "bytes 0-9/100"
    with pytest.raises(ValueError, match="empty span"):
        format_content_range(ByteSpan(0, 0), 0)


@bounded
@given(st.integers(0, 10**15), st.integers(1, 10**9), st.integers(0, 10**9))
def test_content_range_reads_what_it_writes(start: int, size: int, rest: int) -> None:
    span, length = ByteSpan(start, start + size), start + size + rest
    assert parse_content_range(format_content_range(span, length)) == ContentRange(span, length)


@pytest.mark.parametrize(
    ("span", "slices"),
    [
        (ByteSpan(0, 0), range(0)),
        (ByteSpan(15, 15), range(0)),
        (ByteSpan(0, 1), range(1)),
        (ByteSpan(0, 10), range(1)),
        (ByteSpan(0, 11), range(2)),
        (ByteSpan(9, 10), range(1)),
        (ByteSpan(9, 11), range(2)),
        (ByteSpan(10, 20), range(1, 2)),
        (ByteSpan(25, 47), range(2, 5)),
    ],
)
def test_slices_of_10_bytes_cover_a_span(span: ByteSpan, slices: range) -> None:
    assert slices_of(span, 10) == slices


@pytest.mark.parametrize(
    ("number", "length", "span"),
    [
        (0, 25, ByteSpan(0, 10)),
        (1, 25, ByteSpan(10, 20)),
        (2, 25, ByteSpan(20, 25)),
        (1, 20, ByteSpan(10, 20)),
        (0, 3, ByteSpan(0, 3)),
    ],
)
def test_slice_span(number: int, length: int, span: ByteSpan) -> None:
    assert slice_span(number, 10, length) == span


@pytest.mark.parametrize("number", [-1, 3])
def test_there_is_no_slice_outside_the_object(number: int) -> None:
    with pytest.raises(ValueError, match="not a span"):
        slice_span(number, 10, 25)


@bounded
@given(st.integers(1, 64), st.integers(1, 500), st.data())
def test_slices_cover_a_span_and_nothing_is_left_out(
    slice_size: int, length: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, length - 1))
    span = ByteSpan(start, data.draw(st.integers(start + 1, length)))
    spans = [slice_span(number, slice_size, length) for number in slices_of(span, slice_size)]
    assert spans[0].start <= span.start < spans[0].stop
    assert spans[-1].start < span.stop <= spans[-1].stop
    assert all(before.stop == after.start for before, after in pairwise(spans))


def test_multipart_body_byte_for_byte() -> None:
    """RFC 9110 §14.6, RFC 2046 §5.1.1."""
    head = part_head("THIS_IS_IT", "application/pdf", ByteSpan(500, 1000), 8000)
    assert head == (
        b"\r\n--THIS_IS_IT\r\n"
        b"Content-Type: application/pdf\r\n"
        b"Content-Range: bytes 500-999/8000\r\n"
        b"\r\n"
    )
    assert parts_end("THIS_IS_IT") == b"\r\n--THIS_IS_IT--\r\n"


@bounded
@given(
    st.text("abcdefABCDEF0123456789", min_size=1, max_size=70),
    st.sampled_from(["video/mp4", "text/plain; charset=utf-8", "x/é", "x/\udcff"]),
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 100)), max_size=MAX_RANGES),
)
def test_parts_length_is_the_length_of_what_is_sent(
    boundary: str, content_type: str, ranges: list[tuple[int, int]]
) -> None:
    data = bytes(range(200))
    spans = [ByteSpan(start, start + size) for start, size in ranges]
    body = b"".join(
        part_head(boundary, content_type, span, 200) + data[span.start : span.stop]
        for span in spans
    ) + parts_end(boundary)
    assert parts_length(boundary, content_type, spans, 200) == len(body)


def test_python_reads_the_multipart_body() -> None:
    spans = (ByteSpan(0, 3), ByteSpan(7, 10))
    message = b"Content-Type: multipart/byteranges; boundary=B\r\n"
    for span in spans:
        message += part_head("B", "text/plain", span, 10) + b"0123456789"[span.start : span.stop]
    message += parts_end("B")
    parts = message_from_bytes(message, policy=policy.HTTP).iter_parts()
    assert [(part["Content-Range"], part.get_content()) for part in parts] == [
        ("bytes 0-2/10", "012"),
        ("bytes 7-9/10", "789"),
    ]
