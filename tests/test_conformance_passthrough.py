"""Objects that may not be stored are still served right: one origin answer for one client's."""

import asyncio

import pytest

from tests import serving
from tests.faults import Bare, Cut, Error, Stall
from tests.pattern import Pattern
from tests.serving import Serve, Site, request_bytes

serve = serving.serve_exactly
site = serving.site

PATH, KEY = "/outputs/a.mp4", "outputs/a.mp4"
LENGTH = 1_000_000
DATA = Pattern(LENGTH, seed=4)
SAME = "Tue, 14 Nov 2023 22:13:20 GMT"


def put(site: Site) -> str:
    stored = site.origin.put(
        KEY, DATA, last_modified=1_700_000_000, headers={"Cache-Control": "private", "X-Own": "1"}
    )
    return f'"{stored.etag}"'


@pytest.fixture
async def known(site: Site) -> Site:
    """It was asked for before, so that it is known not to be stored."""
    put(site)
    assert (await site.head(PATH)).status == 200
    site.origin.reset()
    return site


@pytest.mark.parametrize(
    ("headers", "status", "start", "stop", "asked"),
    [
        ({}, 200, 0, LENGTH, None),
        ({"Range": "bytes=0-"}, 206, 0, LENGTH, "bytes=0-"),
        ({"Range": "bytes=0-1"}, 206, 0, 2, "bytes=0-1"),
        ({"Range": "bytes=500000-500009"}, 206, 500_000, 500_010, "bytes=500000-500009"),
        ({"Range": "bytes=-5"}, 206, LENGTH - 5, LENGTH, "bytes=-5"),
        ({"Range": "bytes=999990-2000000"}, 206, LENGTH - 10, LENGTH, "bytes=999990-2000000"),
        ({"Range": "bytes=0-1,5-6"}, 200, 0, LENGTH, None),  # RFC 9110 §14.2: MAY be ignored
        ({"Range": "lines=1"}, 200, 0, LENGTH, None),
        ({"Range": "bytes=0-1", "If-Range": '"other"'}, 200, 0, LENGTH, None),
        ({"If-None-Match": '"other"'}, 200, 0, LENGTH, None),
        ({"If-Match": "*"}, 200, 0, LENGTH, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("honest", [True, False], ids=["ranges", "ignores-range"])
async def test_its_bytes(
    known: Site,
    headers: dict[str, str],
    status: int,
    start: int,
    stop: int,
    asked: str | None,
    honest: bool,
) -> None:
    known.origin.quirks.ignore_range = not honest
    reply = await known.get(PATH, headers)
    assert (reply.status, reply.body) == (status, DATA.read(start, stop))
    content_range = f"bytes {start}-{stop - 1}/{LENGTH}" if status == 206 else None
    assert reply.headers.get("Content-Range") == content_range
    assert known.origin.asked(KEY) == [asked]
    assert reply.headers["X-Own"] == "1"
    assert reply.headers["Cache-Control"] == "private"
    forward_status = 206 if honest and asked else 200
    assert reply.cache_status == f"edgecache; fwd=bypass; fwd-status={forward_status}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "*"}, 304),
        ({"If-Modified-Since": SAME}, 304),
        ({"If-None-Match": "*", "Range": "bytes=0-1"}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": '"other"', "Range": "bytes=0-1"}, 412),
        ({"Range": f"bytes={LENGTH}-"}, 416),
        ({"Range": "bytes=-0"}, 416),
    ],
    ids=str,
)
async def test_answers_without_a_body(known: Site, headers: dict[str, str], status: int) -> None:
    reply = await known.get(PATH, headers)
    assert (reply.status, reply.headers.get("Content-Range")) == (
        status,
        f"bytes */{LENGTH}" if status == 416 else None,
    )
    assert reply.headers["Cache-Control"] == ("private" if status == 304 else "no-store")
    assert (await known.get(PATH)).body == DATA.read()


async def test_head(known: Site) -> None:
    reply = await known.head(PATH)
    assert (reply.status, reply.headers["Content-Length"]) == (200, str(LENGTH))
    assert reply.headers["ETag"]
    assert known.origin.body_bytes <= 1


async def test_an_empty_one(site: Site) -> None:
    site.origin.put(KEY, b"", headers={"Cache-Control": "no-store"})
    for headers, status in (({}, 200), ({"Range": "bytes=-5"}, 200), ({"Range": "bytes=0-"}, 416)):
        for _ in range(2):
            reply = await site.get(PATH, headers)
            assert (reply.status, reply.headers["Content-Length"][:1]) == (
                status,
                "0" if status == 200 else reply.headers["Content-Length"][:1],
            )


async def test_each_client_has_an_answer_of_its_own(known: Site) -> None:
    replies = await asyncio.gather(*(known.get(PATH) for _ in range(5)))
    assert all(reply.body == DATA.read() for reply in replies)
    assert len(known.origin.requests) == 5
    assert await known.metric("origin_body_bytes_total", reason="passthrough") >= 5 * LENGTH


async def test_collapsed_clients_do_not_share_it_either(site: Site) -> None:
    put(site)
    replies = await asyncio.gather(*(site.get(PATH) for _ in range(5)))
    assert all(reply.body == DATA.read() for reply in replies)
    assert all("collapsed" not in reply.cache_status for reply in replies)
    assert len(site.origin.requests) == 6  # one that told, and one each


@pytest.mark.parametrize(
    ("action", "status"),
    [
        (Error(500), 502),
        (Error(404, "NoSuchKey"), 404),
        (Error(403, "AccessDenied"), 502),
        (Bare(304), 502),
        (Cut(0), 502),
        (Stall(0), 504),
        (Stall(), 504),
    ],
    ids=str,
)
async def test_an_origin_that_fails_at_once(
    serve: Serve, action: Error | Bare | Cut | Stall, status: int
) -> None:
    patience = 0.2 if isinstance(action, Stall) else 10
    async with serve(fetch={"first_byte_timeout": patience, "stall_timeout": patience}) as site:
        put(site)
        await site.head(PATH)
        site.origin.fault(action, times=None)
        reply = await site.get(PATH)
        assert (reply.status, reply.headers["Cache-Control"]) == (status, "no-store")
        site.origin.faults.clear()
        assert (await site.get(PATH)).body == DATA.read()


@pytest.mark.parametrize("action", [Cut(LENGTH // 2), Stall(LENGTH // 2)], ids=str)
async def test_an_origin_that_fails_midway_is_seen_by_the_client(
    serve: Serve, action: Cut | Stall
) -> None:
    """As with `retries` of others, once they are used up: see test_origin_resumes.py."""
    fetching = {"stall_timeout": 1, "retries": 0}
    async with serve(fetch=fetching) as site, site.connect() as wire:
        put(site)
        await site.head(PATH)
        site.origin.fault(action)
        await wire.send(request_bytes("GET", PATH))
        head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
        assert b"Content-Length: 1000000" in head
        assert DATA.read(0, len(body)) == body
        assert len(body) < LENGTH
        assert (await site.get(PATH)).body == DATA.read()
