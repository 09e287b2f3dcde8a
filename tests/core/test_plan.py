import pytest

from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta
from edgecache.core.plan import PROBE, Plan, RunSizes, opening_range, plan_answer
from edgecache.core.ranges import IntRange

MODIFIED = 1_700_000_000
SAME, BEFORE = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT"
KI = 2**10
SIZES = RunSizes(slice_size=KI, first_run=2 * KI, image_run=4 * KI, max_run=8 * KI)


def meta(length: int = 100, etag: str = '"v"') -> ObjectMeta:
    return ObjectMeta(
        key=ObjectKey("o", "k"),
        etag=etag,
        origin_etag=etag,
        length=length,
        last_modified=MODIFIED,
        date=MODIFIED + 3600,
        request_time=0,
        response_time=0,
        headers=(),
    )


WHOLE = Plan(200, (ByteSpan(0, 100),))


def part(*spans: tuple[int, int]) -> Plan:
    return Plan(206, tuple(ByteSpan(*span) for span in spans))


@pytest.mark.parametrize(
    ("headers", "plan"),
    [
        ({}, WHOLE),
        ({"Range": "bytes=0-"}, part((0, 100))),
        ({"Range": "bytes=0-9"}, part((0, 10))),
        ({"Range": "bytes=-9"}, part((91, 100))),
        ({"Range": "bytes=0-9,20-29"}, part((0, 10), (20, 30))),
        ({"Range": "bytes=20-29,0-9"}, part((20, 30), (0, 10))),
        ({"Range": "bytes=0-9,5-29"}, part((0, 30))),
        ({"Range": "bytes=0-9,200-"}, part((0, 10))),
        ({"Range": "bytes=100-"}, Plan(416)),
        ({"Range": "bytes=-0"}, Plan(416)),
        ({"Range": "lines=0-9"}, WHOLE),
        # RFC 9110 §13.1.5
        ({"Range": "bytes=0-9", "If-Range": '"v"'}, part((0, 10))),
        ({"Range": "bytes=0-9", "If-Range": SAME}, part((0, 10))),
        ({"Range": "bytes=0-9", "If-Range": '"x"'}, WHOLE),
        ({"Range": "bytes=100-", "If-Range": '"x"'}, WHOLE),
        ({"If-Range": '"x"'}, WHOLE),
        # §13.2.2: preconditions before Range
        ({"If-None-Match": '"v"'}, Plan(304)),
        ({"If-None-Match": '"v"', "Range": "bytes=0-9"}, Plan(304)),
        ({"If-None-Match": '"v"', "Range": "bytes=100-"}, Plan(304)),
        ({"If-None-Match": '"x"', "Range": "bytes=0-9"}, part((0, 10))),
        ({"If-Modified-Since": SAME}, Plan(304)),
        ({"If-Modified-Since": BEFORE}, WHOLE),
        ({"If-Match": '"x"'}, Plan(412)),
        ({"If-Match": '"x"', "If-None-Match": '"v"'}, Plan(412)),
        ({"If-Match": '"x"', "Range": "bytes=100-"}, Plan(412)),
        ({"If-Unmodified-Since": BEFORE}, Plan(412)),
    ],
    ids=str,
)
def test_plan_of_a_get(headers: dict[str, str], plan: Plan) -> None:
    assert plan_answer("GET", headers, meta()) == plan


@pytest.mark.parametrize(
    ("headers", "plan"),
    [
        ({}, WHOLE),
        ({"Range": "bytes=0-9"}, WHOLE),  # §14.2: Range is defined for GET only
        ({"Range": "bytes=100-"}, WHOLE),
        ({"If-None-Match": '"v"'}, Plan(304)),
        ({"If-Match": '"x"'}, Plan(412)),
    ],
)
def test_plan_of_a_head(headers: dict[str, str], plan: Plan) -> None:
    assert plan_answer("HEAD", headers, meta()) == plan


@pytest.mark.parametrize(
    ("range_", "plan"),
    [
        (None, Plan(200, (ByteSpan(0, 0),))),
        ("bytes=0-", Plan(416)),
        ("bytes=-5", Plan(200, (ByteSpan(0, 0),))),  # no Content-Range says "no byte" (§14.1.2)
        ("bytes=-5,-0", Plan(200, (ByteSpan(0, 0),))),
        ("bytes=-0", Plan(416)),
    ],
)
def test_plan_of_an_empty_object(range_: str | None, plan: Plan) -> None:
    headers = {} if range_ is None else {"Range": range_}
    assert plan_answer("GET", headers, meta(length=0)) == plan


def test_without_an_etag_only_a_star_names_it() -> None:
    assert plan_answer("GET", {"If-None-Match": "*"}, meta(etag="")).status == 304
    assert plan_answer("GET", {"If-None-Match": '""'}, meta(etag="")).status == 200


# How much to ask for at once


@pytest.mark.parametrize(
    ("key", "span", "window"),
    [
        ("a.mp4", ByteSpan(0, 100 * KI), 2 * KI),  # to the end: the viewer may leave
        ("a.png", ByteSpan(0, 100 * KI), 4 * KI),
        ("a.mp4", ByteSpan(0, 50 * KI), 8 * KI),  # the client said how much it wants
        ("a.png", ByteSpan(0, 50 * KI), 8 * KI),
        ("no-extension", ByteSpan(5, 100 * KI), 2 * KI),
    ],
)
def test_the_window_of_a_first_request(key: str, span: ByteSpan, window: int) -> None:
    assert SIZES.window(key, span, 100 * KI) == window


@pytest.mark.parametrize(
    ("key", "range_", "asked"),
    [
        ("a.mp4", None, IntRange(0, 2 * KI - 1)),
        ("a.png", None, IntRange(0, 4 * KI - 1)),
        ("a.mp4", "bytes=0-", IntRange(0, 2 * KI - 1)),
        ("a.mp4", "bytes=0-1", IntRange(0, KI - 1)),
        ("a.mp4", f"bytes=0-{KI - 1}", IntRange(0, KI - 1)),
        ("a.mp4", f"bytes=0-{KI}", IntRange(0, 2 * KI - 1)),
        ("a.mp4", f"bytes={KI - 1}-{KI}", IntRange(0, 2 * KI - 1)),
        ("a.mp4", f"bytes={5 * KI + 7}-", IntRange(5 * KI, 7 * KI - 1)),
        ("a.mp4", f"bytes={5 * KI + 7}-{6 * KI}", IntRange(5 * KI, 7 * KI - 1)),
        ("a.mp4", f"bytes=0-{10**17}", IntRange(0, 8 * KI - 1)),
        ("a.mp4", f"bytes={5 * KI}-{5 * KI},0-0", IntRange(5 * KI, 6 * KI - 1)),
        ("a.mp4", "bytes=-5", PROBE),  # where it lies depends on the length
        ("a.mp4", "garbage", IntRange(0, 2 * KI - 1)),
    ],
)
def test_the_opening_range_covers_whole_slices(
    key: str, range_: str | None, asked: IntRange
) -> None:
    headers = {} if range_ is None else {"Range": range_}
    assert opening_range("GET", headers, key, SIZES) == asked


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("HEAD", {"Range": "bytes=0-"}),
        ("GET", {"If-None-Match": '"v"'}),
        ("GET", {"If-Modified-Since": SAME, "Range": "bytes=0-"}),
    ],
)
def test_one_byte_where_the_body_may_not_be_wanted(method: str, headers: dict[str, str]) -> None:
    assert opening_range(method, headers, "a.mp4", SIZES) == PROBE
