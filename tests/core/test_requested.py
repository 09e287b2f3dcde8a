"""An access log's lines, and what they say that viewers wanted."""

import pytest

from edgecache.core.accesslog import AccessEntry, format_combined, format_json
from edgecache.core.requested import Demand, Line, Requested, parse

SIZE = 100


def entry(**fields: object) -> AccessEntry:
    usual = AccessEntry(
        time=1_750_000_000.0,
        client="192.0.2.1",
        method="GET",
        path="/outputs/a%20b.mp4?signature=secret",
        status=206,
        bytes=250,
        range="bytes=0-",
        duration=0.1,
        time_to_first_byte=0.01,
        cache_status="edgecache; hit",
        result="hit",
        referer='https://app.example/"x"',
        user_agent='agent "quoted" \\',
        request_id="1",
    )
    return usual._replace(**fields)  # type: ignore[arg-type]


def test_our_own_lines_are_read_back() -> None:
    line = Line("/outputs/a%20b.mp4", 206, 250, "bytes=0-")
    assert parse(format_json(entry())) == line
    assert parse(format_combined(entry())) == line._replace(range=None)


def test_nginx_lines() -> None:
    start = "192.0.2.7 - joe [10/Oct/2000:13:55:36 -0700] "
    end = '"https://a.example/" "Mozilla/5.0 (X11)"'
    assert parse(f'{start}"GET /a.png HTTP/1.1" 200 2326 {end}') == Line("/a.png", 200, 2326, None)
    assert parse(f'{start}"GET /\\xC3\\xA4.png HTTP/2.0" 200 5 {end}') == Line(
        "/%C3%A4.png", 200, 5, None
    )
    assert parse(f'{start}"GET /a\\"b HTTP/1.1" 304 - {end}') == Line('/a"b', 304, 0, None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "garbage",
        "{",
        "{}",
        "[]",
        '{"method": "GET", "path": 5, "status": 200, "bytes": 5, "range": ""}',
        format_json(entry(method="HEAD")),
        format_json(entry(status=404)),
        format_json(entry(path="/" + "a" * 2000)),
        format_combined(entry(method="POST")),
        format_combined(entry(path="/a\\u0000b")),
        '1.2.3.4 - - [x] "\\x16\\x03" 400 0',
        '1.2.3.4 - - [x] "-" 408 0',
    ],
)
def test_what_tells_of_no_object(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    ("status", "sent", "range_", "ranges"),
    [
        (200, 250, "", ["bytes=0-299"]),
        (200, 250, "bytes=5-6", ["bytes=0-299"]),
        (206, 250, "bytes=0-", ["bytes=0-299"]),
        (206, 2, "bytes=0-1", ["bytes=0-99"]),
        (206, 10, "bytes=195-1000", ["bytes=100-299"]),
        (206, 1000, "bytes=0-9, 500-509", ["bytes=0-99,500-599"]),
        (206, 50, "bytes=-80", ["bytes=-50"]),
        (206, 50, f"bytes={10**30}-", []),
        (304, 0, "", []),
        (200, 0, "", []),
        (206, 50, None, []),
    ],
)
def test_what_was_sent_is_what_was_wanted(
    status: int, sent: int, range_: str | None, ranges: list[str]
) -> None:
    demand = Demand()
    demand.count(Line("/a", status, sent, range_), SIZE)
    assert list(demand.ranges()) == ranges
    assert demand.unknown is (range_ is None)
    assert (demand.requests, demand.bytes) == (1, sent)


def test_spans_that_touch_are_one() -> None:
    demand = Demand()
    for first in (0, 400, 800, 200, 100):
        demand.count(Line("/a", 206, 100, f"bytes={first}-"), SIZE)
    assert list(demand.ranges()) == ["bytes=0-299,400-499,800-899"]
    demand.count(Line("/a", 206, 450, "bytes=250-699"), SIZE)
    assert list(demand.ranges()) == ["bytes=0-699,800-899"]
    demand.count(Line("/a", 200, 5000, ""), SIZE)
    assert list(demand.ranges()) == ["bytes=0-4999"]


def test_a_field_has_no_more_ranges_than_are_taken() -> None:
    demand = Demand()
    for number in range(40):
        demand.count(Line("/a", 206, 1, f"bytes={number * 2 * SIZE}-"), SIZE)
    assert [field.count("-") for field in demand.ranges()] == [16, 16, 8]


def test_bytes_that_were_asked_for_again_are_not_new() -> None:
    demand = Demand()
    demand.count(Line("/a", 206, 100, "bytes=0-99"), 1)
    demand.count(Line("/a", 206, 100, "bytes=50-149"), 1)
    assert (demand.bytes, demand.distinct) == (200, 150)
    demand.count(Line("/a", 206, 10, "bytes=-10"), 1)
    assert demand.distinct == 160
    demand.count(Line("/a", 206, 300, None), 1)  # which part the log does not say
    assert demand.distinct == demand.bytes == 510


def test_objects_are_named_as_requests_name_them() -> None:
    requested = Requested({"volume"}, SIZE)
    for path, count in [
        ("/outputs/a%20b.png", 10),
        ("/volume/outputs/a.png", 99),
        ("/outputs/a%20b.png?v=2", 10),
        ("/../etc/passwd", 10),
    ]:
        requested.read(format_json(entry(path=path, bytes=count)))
    requested.read("garbage")
    assert requested.refused == 2
    one, other = (None, "outputs/a b.png"), ("volume", "outputs/a.png")
    assert [name for name, _ in requested.ranked("requests")] == [one, other]
    assert [name for name, _ in requested.ranked("bytes")] == [other, one]
