import pytest

from edgecache.core.answer import (
    BODY_FIELDS,
    FRESHNESS_FIELDS,
    answer_fields,
    body_length,
    hit_head,
    render,
    without,
)
from edgecache.core.index import Route, StoredResponse, stored_response
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta
from edgecache.core.plan import Plan
from edgecache.core.ranges import part_head, parts_end

STORED = stored_response(
    ObjectMeta(
        key=ObjectKey("o", "a.png"),
        etag='"v"',
        origin_etag='"v"',
        length=100,
        last_modified=1_700_000_000,
        date=1_700_000_060,
        request_time=0,
        response_time=0,
        headers=(
            ("content-language", "en"),
            ("content-encoding", "x"),
            ("content-disposition", "inline"),
            ("content-location", "/x"),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("cache-control", "max-age=60"),
            ("vary", "Origin"),
        ),
    ),
    Route(label="/", ttl=60, browser_ttl=60),
)
TWO = (ByteSpan(0, 10), ByteSpan(20, 30))


def fields(status: int, *spans: ByteSpan, stored: StoredResponse = STORED) -> dict[str, str]:
    pairs = answer_fields(stored, Plan(status, spans), "b")
    assert len(dict(pairs)) == len(pairs)  # none is there twice
    return dict(pairs)


def test_a_200_has_them_all() -> None:
    assert fields(200, ByteSpan(0, 100)) == dict(STORED.fields)
    assert fields(200, ByteSpan(0, 100)).keys() >= BODY_FIELDS | FRESHNESS_FIELDS


def test_a_206_says_which_bytes() -> None:
    expected = dict(STORED.fields) | {"Content-Range": "bytes 10-19/100"}
    assert fields(206, ByteSpan(10, 20)) == expected


def test_several_ranges_are_multipart() -> None:
    """RFC 9110 §15.3.7.2: Content-Range is in the parts only, and so is the object's type."""
    found = fields(206, *TWO)
    assert found.pop("Content-Type") == "multipart/byteranges; boundary=b"
    expected = dict(STORED.fields)
    assert expected.pop("Content-Type") == "image/png"
    assert found == expected


def test_a_304_has_what_a_cache_updates() -> None:
    """RFC 9110 §15.4.5; what describes the body that it has not is left out."""
    found = fields(304)
    assert found == {n: v for n, v in STORED.fields if n not in BODY_FIELDS}
    assert {"Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"} <= found.keys()


@pytest.mark.parametrize("status", [412, 416])
def test_a_refusal_is_no_ones_to_keep(status: int) -> None:
    found = fields(status)
    assert found["Cache-Control"] == "no-store"
    assert not (BODY_FIELDS | {"Expires"}) & found.keys()
    assert found.get("Content-Range") == ("bytes */100" if status == 416 else None)
    assert found["ETag"] == '"v"'


@pytest.mark.parametrize(
    ("plan", "length"),
    [
        (Plan(200, (ByteSpan(0, 100),)), 100),
        (Plan(200, (ByteSpan(0, 0),)), 0),
        (Plan(206, (ByteSpan(5, 9),)), 4),
        (Plan(304), None),
        (Plan(412), 0),
        (Plan(416), 0),
    ],
)
def test_content_length(plan: Plan, length: int | None) -> None:
    assert body_length(STORED, plan, "") == length


def test_content_length_of_several_parts() -> None:
    heads = [part_head("b", "image/png", span, 100) for span in TWO]
    length = sum(map(len, heads)) + 20 + len(parts_end("b"))
    assert body_length(STORED, Plan(206, TWO), "b") == length


def test_without() -> None:
    assert without((("A", "1"), ("B", "2"), ("A", "3")), frozenset({"A"})) == [("B", "2")]


# The same as lines, for the hot path


def test_render() -> None:
    assert render([("A", "1"), ("B", "caf\udce9")]) == "A: 1\r\nB: caf\udce9\r\n"
    assert render([]) == ""


@pytest.mark.parametrize(
    "plan",
    [
        Plan(200, (ByteSpan(0, 100),)),
        Plan(200, (ByteSpan(0, 0),)),
        Plan(206, (ByteSpan(5, 9),)),
        Plan(304),
    ],
)
def test_the_head_of_a_hit_is_what_answer_fields_gives(plan: Plan) -> None:
    head, status = hit_head(STORED, plan, age=5.9)
    lines = head.removesuffix("\r\n").split("\r\n")
    expected = answer_fields(STORED, plan, "")
    if (length := body_length(STORED, plan, "")) is not None:
        expected.append(("Content-Length", str(length)))
    expected += [("Age", "5"), ("Cache-Status", "edgecache; hit; ttl=54")]
    assert sorted(lines) == sorted(render(expected).removesuffix("\r\n").split("\r\n"))
    assert status == "edgecache; hit; ttl=54"
