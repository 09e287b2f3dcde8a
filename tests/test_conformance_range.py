"""Ranges, RFC 9110 §14 and RFC 9111 §3.4, through a socket. Names are http-tests/cache-tests ids
where they have one."""

import re
from hashlib import md5

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Site

serve = serving.serve_exactly
site = serving.site

KEY = "outputs/clip.mp4"
LENGTH = 3 * SLICE + 1000
DATA = Pattern(LENGTH, seed=7)
MODIFIED = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
LATER = "Tue, 14 Nov 2023 22:13:21 GMT"
ETAG = f'"{md5(repr(DATA).encode()).hexdigest()}"'
PATH = f"/{KEY}"


def put(site: Site) -> None:
    site.origin.put(KEY, DATA, last_modified=MODIFIED)


async def fetch(site: Site, **headers: str) -> Reply:
    return await site.get(PATH, {name.replace("_", "-"): value for name, value in headers.items()})


def is_whole(reply: Reply) -> bool:
    assert "Content-Range" not in reply.headers
    return reply.status == 200 and reply.body == DATA.read()


def is_part(reply: Reply, start: int, stop: int) -> bool:
    assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{LENGTH}"
    return reply.status == 206 and reply.body == DATA.read(start, stop)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        pytest.param("bytes=0-", 0, LENGTH, id="a-player's-first-request-is-206"),
        pytest.param("bytes=0-1", 0, 2, id="safari's-probe"),
        pytest.param("bytes=0-0", 0, 1, id="one-byte"),
        pytest.param("bytes=10-19", 10, 20, id="inside-a-slice"),
        pytest.param(f"bytes={SLICE - 1}-{SLICE}", SLICE - 1, SLICE + 1, id="over-a-slice's-edge"),
        pytest.param(f"bytes={SLICE}-{2 * SLICE - 1}", SLICE, 2 * SLICE, id="exactly-a-slice"),
        pytest.param(f"bytes={2 * SLICE}-", 2 * SLICE, LENGTH, id="open-ended-seek"),
        pytest.param(f"bytes={LENGTH - 1}-", LENGTH - 1, LENGTH, id="last-byte"),
        pytest.param("bytes=-5", LENGTH - 5, LENGTH, id="suffix"),
        pytest.param(f"bytes=-{LENGTH}", 0, LENGTH, id="suffix-of-everything"),
        pytest.param("bytes=-99999999", 0, LENGTH, id="suffix-longer-than-the-object"),
        pytest.param("bytes=100-99999999", 100, LENGTH, id="last-byte-beyond-the-end"),
        pytest.param(f"bytes=0-{'9' * 40}", 0, LENGTH, id="last-byte-of-40-digits"),
        pytest.param("Bytes=1-2", 1, 3, id="unit-in-any-case"),
        pytest.param("bytes=1-2,", 1, 3, id="empty-list-element"),
        pytest.param("bytes=0-4,3-9", 0, 10, id="overlapping-become-one"),
        pytest.param("bytes=0-4,5-9", 0, 10, id="adjacent-become-one"),
        pytest.param("bytes=0-4,99999999-", 0, 5, id="unsatisfiable-one-among-others"),
    ],
)
async def test_a_range_is_answered_exactly(
    site: Site, value: str, start: int, stop: int, warm: bool
) -> None:
    put(site)
    if warm:
        assert is_whole(await fetch(site))
        site.origin.reset()
    assert is_part(await fetch(site, Range=value), start, stop)
    if warm:  # partial-store-complete-reuse-partial, -no-last, -suffix
        assert site.origin.requests == []


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    "value",
    [
        "lines=0-9",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-0",
        "bytes=0-9, 20-10",
        "bytes= 0-9",
        "bytes=0x0-0x9",
        "bytes=0-9;q=1",
        "bytes=-0-5",
        "bytes=1_0-2_0",
        "bytes=+1-2",
        "0-9",
        "",
        "bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(17)),
        "bytes=" + "0-," * 2000,
    ],
    ids=lambda value: value[:20] or "empty",
)
async def test_a_range_outside_the_grammar_is_ignored(site: Site, value: str, warm: bool) -> None:
    put(site)
    if warm:
        await fetch(site)
    assert is_whole(await fetch(site, Range=value))


async def test_a_range_in_other_digits_is_ignored(site: Site) -> None:
    put(site)
    assert is_whole(await fetch(site, Range="bytes=\u0661-\u0663"))


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    "value", [f"bytes={LENGTH}-", f"bytes={LENGTH + 5}-{LENGTH + 9}", "bytes=-0", "bytes=9999999-"]
)
async def test_an_unsatisfiable_range_is_416(site: Site, value: str, warm: bool) -> None:
    put(site)
    if warm:
        await fetch(site)
    reply = await fetch(site, Range=value)
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{LENGTH}"  # RFC 9110 §15.5.17
    assert not {"ETag", "Last-Modified"} & reply.headers.keys() or reply.body == b""
    assert is_whole(await fetch(site))


@pytest.mark.parametrize("value", [f"bytes={LENGTH}-", "bytes=-0"])
async def test_a_refusal_is_not_cached_downstream(site: Site, value: str) -> None:
    """A cache in front that keys by URL must not keep the 416 of one client for the others."""
    put(site)
    reply = await fetch(site, Range=value)
    assert (reply.status, reply.headers["Cache-Control"]) == (416, "no-store")


async def test_range_is_only_for_get(site: Site) -> None:
    put(site)
    reply = await site.head(PATH, {"Range": "bytes=0-1"})  # RFC 9110 §14.2
    assert (reply.status, reply.headers["Content-Length"]) == (200, str(LENGTH))
    assert "Content-Range" not in reply.headers


# Several ranges: multipart/byteranges (RFC 9110 §14.6, §15.3.7.2)


def parts_of(reply: Reply) -> list[tuple[str, str, bytes]]:
    """(Content-Type, Content-Range, bytes) of each part, the framing taken strictly."""
    found = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{32})", reply.content_type)
    assert found
    boundary = found[1].encode()
    assert boundary not in DATA.read()
    first, *parts, end = reply.body.split(b"\r\n--" + boundary)
    assert (first, end) == (b"", b"--\r\n")
    return [split_part(part) for part in parts]


def split_part(part: bytes) -> tuple[str, str, bytes]:
    head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    fields = dict(line.split(": ") for line in head.decode().split("\r\n"))
    assert fields.keys() == {"Content-Type", "Content-Range"}
    return fields["Content-Type"], fields["Content-Range"], data


def part(start: int, stop: int) -> tuple[str, str, bytes]:
    return "video/mp4", f"bytes {start}-{stop - 1}/{LENGTH}", DATA.read(start, stop)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-1,10-19", [(0, 2), (10, 20)]),
        ("bytes=10-19,0-1", [(10, 20), (0, 2)]),  # the client's order, where they are apart
        (f"bytes=5-9,{SLICE - 2}-{SLICE + 1},-3", [(5, 10), (SLICE - 2, SLICE + 2), (-3, 0)]),
        ("bytes=0-4,3-9,20-20", [(0, 10), (20, 21)]),
        ("bytes= ,0-0 , ,2-2,", [(0, 1), (2, 3)]),
        ("bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(16)), None),
    ],
    ids=["two", "reversed", "over-slices-and-suffix", "some-overlap", "spaces", "sixteen"],
)
async def test_several_ranges_come_in_parts(
    site: Site, value: str, spans: list[tuple[int, int]] | None, warm: bool
) -> None:
    put(site)
    if warm:
        await fetch(site)
    reply = await fetch(site, Range=value)
    if spans is None:
        spans = [(n * 10, n * 10 + 1) for n in range(16)]
    assert reply.status == 206
    assert "Content-Range" not in reply.headers  # §15.3.7.2: only in the parts
    assert parts_of(reply) == [
        part(start % LENGTH, stop if start >= 0 else LENGTH) for start, stop in spans
    ]


# If-Range, RFC 9110 §13.1.5


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("value", "honoured"),
    [
        (ETAG, True),
        (DATE, True),
        ('"other"', False),
        (f"W/{ETAG}", False),  # strong comparison
        (ETAG.strip('"'), False),
        ("*", False),
        (LATER, False),  # an exact match, not a comparison
        ("Tue, 14 Nov 2023 22:13:19 GMT", False),
        ("garbage", False),
    ],
)
async def test_if_range(site: Site, value: str, honoured: bool, warm: bool) -> None:
    put(site)
    if warm:
        await fetch(site)
    reply = await fetch(site, Range="bytes=10-19", If_Range=value)
    assert is_part(reply, 10, 20) if honoured else is_whole(reply)


async def test_if_range_with_a_date_that_is_not_strong(site: Site) -> None:
    """§8.8.2.2: changed in the minute that it was answered in, it may have changed since."""
    site.origin.put(KEY, DATA, last_modified=site.clock() - 30)
    first = await fetch(site)
    modified = first.headers["Last-Modified"]
    assert is_whole(await fetch(site, Range="bytes=10-19", If_Range=modified))


async def test_if_range_without_range_means_nothing(site: Site) -> None:
    put(site)
    assert is_whole(await fetch(site, If_Range='"other"'))


async def test_a_failed_if_range_hides_that_the_range_is_unsatisfiable(site: Site) -> None:
    put(site)
    assert is_whole(await fetch(site, Range=f"bytes={LENGTH}-", If_Range='"other"'))
    assert (await fetch(site, Range=f"bytes={LENGTH}-", If_Range=ETAG)).status == 416


# Objects of no bytes


async def test_an_empty_object(site: Site) -> None:
    site.origin.put("outputs/empty", b"")
    for _ in range(2):
        reply = await site.get("/outputs/empty")
        assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "0")
    reply = await site.head("/outputs/empty")
    assert (reply.status, reply.headers["Content-Length"]) == (200, "0")


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-", 416),
        ("bytes=0-0", 416),
        ("bytes=5-", 416),
        ("bytes=-0", 416),
        ("bytes=-5", 200),  # satisfiable, and no Content-Range can say which bytes (§14.1.2)
        ("bytes=0-0,5-6", 416),
    ],
)
async def test_a_range_of_an_empty_object(site: Site, value: str, status: int, warm: bool) -> None:
    site.origin.put("outputs/empty", b"")
    if warm:
        await site.get("/outputs/empty")
    reply = await site.get("/outputs/empty", {"Range": value})
    assert (reply.status, reply.body[:1]) == (status, b"")
    assert reply.headers.get("Content-Range") == ("bytes */0" if status == 416 else None)


# Parts and wholes share what is stored, RFC 9111 §3.4 and §4 (cache-tests: partial)


@pytest.mark.parametrize(
    ("first", "second", "start", "stop"),
    [
        pytest.param("-5", "-5", LENGTH - 5, LENGTH, id="partial-store-partial-reuse-partial"),
        pytest.param(
            "-5",
            f"{LENGTH - 4}-{LENGTH - 2}",
            LENGTH - 4,
            LENGTH - 1,
            id="partial-store-partial-reuse-partial-byterange",
        ),
        pytest.param(
            "-5",
            f"{LENGTH - 3}-",
            LENGTH - 3,
            LENGTH,
            id="partial-store-partial-reuse-partial-absent",
        ),
        pytest.param(
            "-5", "-1", LENGTH - 1, LENGTH, id="partial-store-partial-reuse-partial-suffix"
        ),
    ],
)
async def test_a_stored_part_answers_smaller_ranges(
    site: Site, first: str, second: str, start: int, stop: int
) -> None:
    put(site)
    await fetch(site, Range=f"bytes={first}")
    await site.idle()
    site.origin.reset()
    assert is_part(await fetch(site, Range=f"bytes={second}"), start, stop)
    assert site.origin.requests == []


async def test_partial_store_partial_complete(site: Site) -> None:
    """The rest of the object is all that is asked for."""
    put(site)
    await fetch(site, Range=f"bytes=0-{SLICE - 1}")
    await site.idle()
    site.origin.reset()
    reply = await fetch(site)
    assert is_whole(reply)
    assert reply.cache_status.startswith("edgecache; fwd=partial;")
    asked = [request.range or "" for request in site.origin.requests]
    assert all(int(re.findall(r"\d+", value)[0]) >= SLICE for value in asked)
    assert site.origin.body_bytes == LENGTH - SLICE


async def test_a_cold_range_costs_the_slices_that_cover_it(site: Site) -> None:
    site.origin.put(KEY, Pattern(2**30, seed=1))
    reply = await fetch(site, Range="bytes=700000000-700000099")
    assert reply.body == Pattern(2**30, seed=1).read(700000000, 700000100)
    await site.idle()
    assert site.origin.body_bytes == SLICE
    assert len(site.origin.requests) == 1


async def test_a_cold_object_costs_each_byte_once(site: Site) -> None:
    put(site)
    assert is_whole(await fetch(site))
    await site.idle()
    assert site.origin.body_bytes == LENGTH
