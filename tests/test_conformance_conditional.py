"""Preconditions and validators, RFC 9110 §8.8, §13, §15.4.5, through a socket. Names are
http-tests/cache-tests ids where they have one."""

from hashlib import md5

import pytest

from tests import serving
from tests.serving import Reply, Site

serve = serving.serve_exactly
site = serving.site

PATH = "/outputs/a.png"
KEY = "outputs/a.png"
DATA = b"0123456789"
ETAG = f'"{md5(DATA).hexdigest()}"'
MODIFIED = 1_700_000_000
BEFORE, SAME, AFTER = (f"Tue, 14 Nov 2023 22:13:{second} GMT" for second in (19, 20, 21))


@pytest.fixture
async def stored(site: Site) -> Site:
    site.origin.put(KEY, DATA, last_modified=MODIFIED)
    return site


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # conditional-etag-strong-respond, -multiple-{first,second,last}
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f'{ETAG}, "1234", "5678"'}, 304),
        ({"If-None-Match": f'"1234", {ETAG}, "5678"'}, 304),
        ({"If-None-Match": f'"1234", "5678", {ETAG}'}, 304),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": ETAG.strip('"')}, 200),  # conditional-etag-quoted-respond-unquoted
        # conditional-lm-fresh, -earlier, -rfc850
        ({"If-Modified-Since": SAME}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": "garbage"}, 200),
        # §13.2.2: the order; conditional-etag-precedence
        ({"If-None-Match": ETAG, "If-Modified-Since": BEFORE}, 304),
        ({"If-None-Match": '"other"', "If-Modified-Since": AFTER}, 200),
        ({"If-Match": ETAG, "If-Unmodified-Since": BEFORE}, 200),
        ({"If-Match": '"other"', "If-None-Match": ETAG}, 412),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, 304),
        ({"If-Unmodified-Since": BEFORE, "If-Modified-Since": AFTER}, 412),
        # §13.1.1, §13.1.4
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Unmodified-Since": SAME}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
    ],
    ids=str,
)
async def test_preconditions(
    stored: Site, headers: dict[str, str], status: int, warm: bool, method: str
) -> None:
    if warm:
        await stored.get(PATH)
        stored.origin.reset()
    reply = await stored.request(method, PATH, headers)
    assert reply.status == status
    assert reply.body == (DATA if (status, method) == (200, "GET") else b"")
    if warm:  # they are answered from what is stored
        assert stored.origin.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": ETAG}, 304),  # preconditions first, then Range (§13.2.2, §14.2)
        ({"If-Match": '"other"'}, 412),
        ({"If-None-Match": ETAG, "If-Range": ETAG}, 304),
        ({"If-None-Match": '"other"'}, 206),
        ({"If-Match": ETAG, "If-Range": ETAG}, 206),
        ({"If-Match": ETAG, "If-Range": '"other"'}, 200),
    ],
)
async def test_preconditions_come_before_range(
    stored: Site, headers: dict[str, str], status: int
) -> None:
    reply = await stored.get(PATH, headers | {"Range": "bytes=2-3"})
    assert reply.status == status
    assert reply.body == {200: DATA, 206: b"23"}.get(status, b"")


async def test_an_unsatisfiable_range_does_not_hide_a_304(stored: Site) -> None:
    reply = await stored.get(PATH, {"If-None-Match": ETAG, "Range": "bytes=99-"})
    assert reply.status == 304


async def test_preconditions_say_nothing_of_what_is_missing(stored: Site) -> None:
    for headers in ({"If-Match": "*"}, {"If-None-Match": "*"}, {"If-None-Match": ETAG}):
        assert (await stored.get("/outputs/none.png", headers)).status == 404  # §13.2.1


# 304 and 412


async def test_a_304_has_what_it_must_have(stored: Site) -> None:
    """RFC 9110 §15.4.5: Cache-Control, Content-Location, Date, ETag, Expires, Vary as in a 200."""
    stored.origin.objects[KEY].headers.update(  # type: ignore[attr-defined]
        {
            "Cache-Control": "max-age=60",
            "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
            "Content-Location": "/elsewhere",
            "Vary": "Origin",
            "Content-Language": "en",
            "Content-Disposition": "inline",
        }
    )
    whole = await stored.get(PATH)
    reply = await stored.get(PATH, {"If-None-Match": ETAG})
    assert (reply.status, reply.body) == (304, b"")
    for name in ("Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"):
        assert reply.headers[name] == whole.headers[name], name
    for name in ("Content-Type", "Content-Length", "Content-Language", "Content-Disposition"):
        assert name in whole.headers
        assert name not in reply.headers


async def test_conditional_304_etag(stored: Site) -> None:
    await stored.get(PATH)
    reply = await stored.get(PATH, {"If-None-Match": ETAG})
    assert (reply.status, reply.headers["ETag"]) == (304, ETAG)
    assert reply.headers["Last-Modified"] == SAME
    assert reply.cache_status.startswith("edgecache; hit")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_connection_goes_on_after_a_304(stored: Site) -> None:
    ask = serving.request_bytes("GET", PATH, {"If-None-Match": ETAG})
    async with stored.connect() as wire:
        await wire.send(ask + serving.request_bytes("GET", PATH))
        assert (await wire.reply()).status == 304
        assert (await wire.reply()).body == DATA


async def test_a_412_is_not_cached_downstream(stored: Site) -> None:
    stored.origin.objects[KEY].headers["Expires"] = (  # type: ignore[index]
        "Thu, 01 Jan 2099 00:00:00 GMT"
    )
    reply = await stored.get(PATH, {"If-Match": '"other"'})
    assert (reply.status, reply.headers["Cache-Control"]) == (412, "no-store")
    assert "Expires" not in reply.headers


async def test_a_cold_condition_costs_one_byte(site: Site) -> None:
    """A client that has the object already makes edgecache fetch no more than its head."""
    site.origin.put("outputs/v.mp4", DATA * 100_000)
    etag = site.origin.objects["outputs/v.mp4"].etag
    assert (await site.get("/outputs/v.mp4", {"If-None-Match": f'"{etag}"'})).status == 304
    await site.idle()
    assert site.origin.asked("outputs/v.mp4") == ["bytes=0-0"]


# Validators: always strong, or none


def etag_of(reply: Reply) -> str | None:
    return reply.headers.get("ETag")


async def test_a_weak_etag_is_made_strong(stored: Site) -> None:
    """conditional-etag-weak-respond; Safari refuses weak ones on ranges."""
    stored.origin.quirks.weak_etags = True
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": f"W/{ETAG}"}):
        reply = await stored.get(PATH, headers)
        assert reply.status in (200, 206, 304)
        assert etag_of(reply) == ETAG
    part = await stored.get(PATH, {"Range": "bytes=0-1", "If-Range": ETAG})
    assert (part.status, part.body) == (206, b"01")


@pytest.mark.parametrize(
    "etag", ["", '"', '""', '"a"b"', f'"{"x" * 300}"', '"caf\xe9"', '"a b"', "W/W/x y"]
)
async def test_what_is_no_etag_is_not_passed_on(site: Site, etag: str) -> None:
    site.origin.put(KEY, DATA, last_modified=MODIFIED, headers={"ETag": etag})
    reply = await site.get(PATH)
    assert (reply.status, reply.body) == (200, DATA)
    assert etag_of(reply) == f'"lm-{MODIFIED:x}-a"'


async def test_an_unquoted_etag_gets_its_quotes(site: Site) -> None:
    site.origin.put(KEY, DATA, headers={"ETag": "abcdef"})
    assert etag_of(await site.get(PATH)) == '"abcdef"'
    # conditional-etag-unquoted-respond-quoted
    assert (await site.get(PATH, {"If-None-Match": '"abcdef"'})).status == 304


async def test_without_an_etag_last_modified_and_length_name_the_version(site: Site) -> None:
    site.origin.quirks.no_etag = True
    site.origin.put("outputs/v.mp4", DATA * 30_000, last_modified=MODIFIED)
    reply = await site.get("/outputs/v.mp4")
    assert (reply.status, reply.body) == (200, DATA * 30_000)
    await site.idle()
    again = await site.get("/outputs/v.mp4", {"Range": "bytes=200000-200009"})
    assert (again.status, again.body) == (206, DATA)
    assert again.cache_status.startswith("edgecache; hit")
    assert etag_of(again) == etag_of(reply)
    assert etag_of(reply)
    site.origin.put("outputs/v.mp4", DATA * 30_001, last_modified=MODIFIED)
    site.clock.advance(4000)
    changed = await site.get("/outputs/v.mp4")
    assert changed.body == DATA * 30_001
    assert etag_of(changed) != etag_of(reply)


async def test_a_file_that_just_changed_without_an_etag_is_passed_through(site: Site) -> None:
    """RFC 9110 §8.8.2.2: its Last-Modified is weak, so its slices could be of two versions."""
    site.origin.quirks.no_etag = True
    site.origin.put(KEY, DATA, last_modified=site.clock() - 5)
    for _ in range(2):
        reply = await site.get(PATH)
        assert (reply.status, reply.body, etag_of(reply)) == (200, DATA, None)
        assert "fwd=bypass" in reply.cache_status


@pytest.mark.parametrize("range_", [None, "bytes=2-4", "bytes=-3", "bytes=0-"])
async def test_without_any_validator_it_is_passed_through(site: Site, range_: str | None) -> None:
    site.origin.quirks.no_etag = site.origin.quirks.no_last_modified = True
    site.origin.put(KEY, DATA)
    expected = {None: DATA, "bytes=2-4": b"234", "bytes=-3": b"789", "bytes=0-": DATA}[range_]
    for _ in range(2):
        reply = await site.get(PATH, {"Range": range_} if range_ else {})
        assert (reply.status, reply.body) == (206 if range_ else 200, expected)
        assert "fwd=bypass" in reply.cache_status
        assert "stored" not in reply.cache_status
        assert not {"ETag", "Last-Modified"} & reply.headers.keys()
        assert reply.headers["Cache-Control"] == "no-cache"
    assert len(site.origin.requests) <= 3
