"""Stale answers (RFC 5861): while the origin is asked, and when it fails. Through a socket and on a
fake clock; in every form that a server has that may differ in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from edgecache import lookup, stream
from edgecache.catalog import Catalog
from edgecache.core.index import Known, Route
from edgecache.core.model import ObjectKey
from tests import serving
from tests.faults import Action, Error, Reset
from tests.pattern import Pattern
from tests.serving import SLICE, Reply, Serve, Site, gather
from tests.slices import slice_files
from tests.waiting import until

serve = pytest.fixture(params=["memory", "disk", "workers"], name="serve")(serving.serving)
# Where hits take the fast path, which may not give what is stale.
on_every_path = serving.in_every_variant
# What is decided before there is a store or a worker.
decided_once = pytest.mark.parametrize("serve", ["memory"], indirect=True)

KEY = "outputs/a.png"
PATH = f"/{KEY}"
DATA = Pattern(3 * SLICE + 100, seed=1)
LIFETIME, BEHIND, IF_ERROR = 60, 30, 600
# A failure is what the origin says once: repetitions are another suite's, and so is the breaker.
ONCE = {"retries": 0, "breaker_failures": 1000}
SETTINGS = {"ttl": LIFETIME, "stale_while_revalidate": BEHIND, "stale_if_error": IF_ERROR}
FIRST_SLICE = {"Range": f"bytes=0-{SLICE - 1}"}


@pytest.fixture
async def site(serve: Serve) -> AsyncIterator[Site]:
    async with serve(freshness=SETTINGS, fetch=ONCE) as site:
        yield site


async def known(site: Site, past: float = 0, cache_control: str = "", **headers: str) -> None:
    """The object is stored, and everywhere that a hit may come from; `past`: its lifetime, so many
    seconds ago."""
    fields = {"Cache-Control": cache_control} if cache_control else {}
    site.origin.put(KEY, DATA, etag="one", headers=fields | headers)
    for _ in range(3):
        await site.get(PATH)
        await site.idle()
    site.origin.reset()
    site.clock.advance(LIFETIME + past)


async def ask(site: Site, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    reply = await site.request(method, PATH, headers or {})
    await site.idle()
    return reply


async def tell(site: Site, path: str, asked: object) -> Any:
    """A POST to the admin port."""
    body = json.dumps(asked).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    async with site.connect(site.server.admin_url) as wire:
        await wire.send(serving.request_bytes("POST", path, fields) + body)
        reply = await wire.reply()
    assert reply.status == 200
    return json.loads(reply.body)


async def purge(site: Site, asked: Mapping[str, object]) -> None:
    await tell(site, "/api/purge", asked)


def is_stale(reply: Reply) -> bool:
    return "stale-" in reply.cache_status


def asked(site: Site) -> int:
    return len(site.origin.requests)


def assert_whole(reply: Reply) -> None:
    assert (reply.status, reply.headers["ETag"]) == (200, '"one"')
    assert reply.body == DATA.read()


# While the origin is asked


@on_every_path
async def test_a_stale_object_is_answered_at_once_and_revalidated_behind(site: Site) -> None:
    await known(site, 12)
    gate = site.origin.hold()
    reply = await site.get(PATH)  # though the origin says nothing yet
    assert_whole(reply)
    assert reply.cache_status == 'edgecache; hit; ttl=-12; detail="stale-while-revalidate"'
    assert reply.headers["Age"] == "72"
    gate.release()
    await site.idle()
    (request,) = site.origin.requests
    assert (request.status, request.range, request.sent) == (304, "bytes=0-0", 0)
    assert (await ask(site)).cache_status == "edgecache; hit; ttl=60"
    assert asked(site) == 1
    assert await site.metric("http_requests_total", result="stale") == 1
    assert await site.metric("origin_body_bytes_total", reason="demand") == DATA.length


async def test_a_hundred_clients_one_revalidation(site: Site) -> None:
    """None of them waits for it, and it outlives them all."""
    await known(site, 1)
    gate = site.origin.hold()
    replies = await gather(*(site.get(PATH) for _ in range(100)))
    for reply in replies:
        assert_whole(reply)
        assert is_stale(reply)
    assert asked(site) == 1
    gate.release()
    await site.idle()
    assert not is_stale(await ask(site))
    assert asked(site) == 1


async def test_an_object_that_was_replaced_is_new_at_the_next_request(site: Site) -> None:
    await known(site, 1)
    site.origin.put(KEY, b"another", etag="two")
    assert_whole(await ask(site))
    reply = await ask(site)
    assert (reply.body, reply.headers["ETag"]) == (b"another", '"two"')


async def test_an_object_that_is_gone_is_404_at_the_next_request(site: Site) -> None:
    await known(site, 1)
    site.origin.remove(KEY)
    assert_whole(await ask(site))
    assert (await ask(site)).status == 404


async def test_what_is_missing_waits_for_the_origin(site: Site) -> None:
    site.origin.put(KEY, DATA, etag="one")
    await ask(site, FIRST_SLICE)
    site.clock.advance(LIFETIME + 1)
    reply = await ask(site)
    assert_whole(reply)
    assert not is_stale(reply)
    site.clock.advance(LIFETIME + 1)
    assert is_stale(await ask(site))


@on_every_path
async def test_what_is_stale_too_long_waits_for_the_origin(site: Site) -> None:
    await known(site, BEHIND)
    assert (await ask(site)).cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=60"


async def test_a_failed_revalidation_is_not_tried_again_at_each_request(site: Site) -> None:
    await known(site, 1)
    site.origin.fault(Error(500), times=None)
    for seconds in (0, 0.4, 0.5):
        site.clock.advance(seconds)
        for _ in range(4):
            assert_whole(await ask(site))
    assert asked(site) == 1
    site.clock.advance(0.1)  # a second after the failure
    assert_whole(await ask(site))
    assert asked(site) == 2


async def test_warming_revalidates_first(site: Site) -> None:
    await known(site, 1)
    (warmed,) = (await tell(site, "/api/warm", {"objects": [{"key": KEY}]}))["objects"]
    assert warmed["result"] == "revalidated"
    assert not is_stale(await ask(site))


async def test_the_access_log_says_so(serve: Serve) -> None:
    async with serve(freshness=SETTINGS, fetch=ONCE) as site:
        await known(site, 1)
        await ask(site)
    assert site.access_entries()[-1]["result"] == "stale"


# When it fails


@decided_once
@pytest.mark.parametrize(
    ("action", "status"),
    [
        (Error(500), "; fwd-status=500"),
        (Error(503), "; fwd-status=503"),
        (Error(429, "SlowDown"), "; fwd-status=429"),
        (Error(524), "; fwd-status=524"),
        (Error(403, "AccessDenied"), "; fwd-status=403"),
        (Error(404, "NoSuchBucket"), "; fwd-status=404"),
        (Reset(), ""),
    ],
    ids=str,
)
async def test_a_failing_origin_is_stood_in_for(site: Site, action: Action, status: str) -> None:
    await known(site, 300)
    site.origin.fault(action, times=None)
    reply = await ask(site)
    assert_whole(reply)
    detail = 'ttl=-300; detail="stale-if-error"'
    assert reply.cache_status == f"edgecache; fwd=stale{status}; {detail}"
    assert reply.headers["Age"] == "360"
    again = await ask(site)  # within a second nobody asks again
    assert_whole(again)
    assert again.cache_status == f"edgecache; hit; {detail}"
    site.origin.faults.clear()
    site.clock.advance(1)
    recovered = await ask(site)
    assert_whole(recovered)
    assert recovered.cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=60"


@on_every_path
async def test_an_origin_that_is_not_there_is_stood_in_for(site: Site) -> None:
    await known(site, 300)
    await site.origin.refuse()
    assert_whole(await ask(site))
    assert await site.metric("http_requests_total", result="stale") == 1
    await site.origin.listen()
    site.clock.advance(1)
    assert not is_stale(await ask(site))


async def test_many_clients_of_a_failing_origin_share_one_request(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await known(site, 300)
    gate = site.origin.hold(times=None)
    site.origin.fault(Error(500), times=None)

    async def release() -> None:
        await gate.reached.wait()
        await site.looked_up()
        gate.release()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(release())
        replies = await gather(*(site.get(PATH) for _ in range(20)))
    for reply in replies:
        assert_whole(reply)
    assert asked(site) == 1
    line = (
        "revalidation failed key='volume/outputs/a.png' reason=the origin failed origin status=500"
    )
    assert caplog.text.count(line) == 1


async def test_an_origin_that_hangs_is_waited_for_once_and_not_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(site, 300)
    gate = site.origin.hold()
    monkeypatch.setattr(lookup, "STALE_PATIENCE", 0.05)
    first = await site.get(PATH)
    assert_whole(first)
    assert first.cache_status == 'edgecache; fwd=stale; ttl=-300; detail="stale-if-error"'
    monkeypatch.setattr(lookup, "STALE_PATIENCE", 0)  # it is over: this request waits no more
    second = await site.get(PATH)
    assert second.cache_status.startswith("edgecache; fwd=stale; collapsed; ttl=-300")
    gate.release()
    await site.idle()
    assert (await ask(site)).cache_status == "edgecache; hit; ttl=60"
    assert asked(site) == 1


async def test_a_missing_object_is_no_failure(site: Site) -> None:
    await known(site, 300)
    site.origin.remove(KEY)
    assert (await ask(site)).status == 404


@pytest.mark.parametrize(("status", "got"), [(500, 502), (503, 503), (524, 504)])
async def test_after_its_time_the_error_is_passed_on(site: Site, status: int, got: int) -> None:
    await known(site, IF_ERROR)
    site.origin.fault(Error(status), times=None)
    reply = await ask(site)
    assert reply.status == got
    assert reply.cache_status == f"edgecache; fwd=stale; fwd-status={status}"
    site.origin.faults.clear()
    assert_whole(await ask(site))


@pytest.mark.parametrize(
    ("action", "after"),
    [(Error(500), "5"), (Error(503, fields={"Retry-After": "7"}), "7"), (Reset(), "5")],
    ids=str,
)
async def test_what_is_not_all_here_is_503_before_a_byte(
    site: Site, action: Action, after: str
) -> None:
    site.origin.put(KEY, DATA, etag="one")
    await ask(site, FIRST_SLICE)
    await ask(site, FIRST_SLICE)
    site.clock.advance(LIFETIME + 1)
    site.origin.fault(action, times=None)
    reply = await ask(site)
    assert (reply.status, reply.headers["Retry-After"]) == (503, after)
    assert reply.body == b"the origin fails, and not all that was asked for is here\n"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.cache_status.startswith("edgecache; fwd=stale")
    here = await ask(site, FIRST_SLICE)
    assert (here.status, here.body) == (206, DATA.read(0, SLICE))
    assert is_stale(here)
    site.origin.faults.clear()
    assert_whole(await ask(site))


@decided_once
async def test_an_object_of_more_slices_than_are_looked_at_is_not_all_here(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(site, 1)
    monkeypatch.setattr(stream, "MOST_LOOKED_AT", 3)
    site.origin.fault(Error(500), times=None)
    assert (await ask(site)).status == 503
    assert (await ask(site, FIRST_SLICE)).status == 206


# Before the head, of a fresh object whose beginning is here


async def test_an_origin_that_fails_is_asked_for_the_gap_before_the_head(site: Site) -> None:
    site.origin.put(KEY, DATA, etag="one")
    await ask(site, FIRST_SLICE)
    site.origin.fault(Error(500), times=None)
    assert (await site.get("/outputs/other")).status == 502  # so it is known to fail
    site.origin.reset()
    reply = await ask(site)
    assert (reply.status, reply.cache_status) == (502, "edgecache; fwd=miss; fwd-status=500")
    assert [request.range for request in site.origin.requests] == [f"bytes={SLICE}-{2 * SLICE - 1}"]
    site.origin.faults.clear()
    assert_whole(await ask(site))  # and this one goes on
    assert_whole(await ask(site))
    assert site.origin.body_bytes < DATA.length - SLICE + 1000  # each byte was bought once


@pytest.mark.parametrize("serve", ["disk", "workers"], indirect=True)
async def test_a_damaged_slice_is_found_before_the_head(serve: Serve) -> None:
    async with serve(freshness=SETTINGS, fetch=ONCE, cache={"hot_size": 0}) as site:
        await known(site, 300)
        await site.restart()
        for file in slice_files(site.server.config.cache.dir):
            if file.stat().st_size < SLICE:  # the last
                file.write_bytes(b"x" * file.stat().st_size)
        site.origin.fault(Error(500), times=None)
        reply = await ask(site)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        site.origin.faults.clear()
        site.clock.advance(1)
        assert_whole(await ask(site))


# Every request gets what it would get of a fresh object

REQUESTS = {
    "whole": ("GET", {}),
    "head": ("HEAD", {}),
    "range": ("GET", {"Range": "bytes=5-70000"}),
    "suffix": ("GET", {"Range": "bytes=-9"}),
    "unsatisfiable": ("GET", {"Range": "bytes=999999-"}),
    "not modified": ("GET", {"If-None-Match": '"one"'}),
    "head not modified": ("HEAD", {"If-None-Match": '"one"'}),
    "if-range": ("GET", {"Range": "bytes=0-9", "If-Range": '"one"'}),
    "precondition": ("GET", {"If-Match": '"two"'}),
}


@pytest.mark.parametrize("serve", ["memory", "workers"], indirect=True)
@pytest.mark.parametrize("past", [5, 300])
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_stale_answer_is_that_of_a_fresh_one(site: Site, name: str, past: float) -> None:
    method, headers = REQUESTS[name]
    await known(site, -1)
    fresh = await ask(site, headers, method)
    assert fresh.cache_status.startswith("edgecache; hit")
    site.clock.advance(1 + past)
    site.origin.fault(Error(500), times=None)
    stale = await ask(site, headers, method)
    assert is_stale(stale)
    assert (stale.status, stale.body) == (fresh.status, fresh.body)
    for reply in (fresh, stale):
        del reply.headers["Age"], reply.headers["Cache-Status"]
    assert stale.headers == fresh.headers


async def test_several_ranges(site: Site) -> None:
    await known(site, 300)
    site.origin.fault(Error(500), times=None)
    reply = await ask(site, {"Range": f"bytes=0-9, {SLICE}-{SLICE + 9}"})
    assert reply.status == 206
    assert DATA.read(0, 10) in reply.body
    assert DATA.read(SLICE, SLICE + 10) in reply.body
    assert is_stale(reply)


# The origin decides


@decided_once
@pytest.mark.parametrize(
    ("cache_control", "cdn", "past", "stale"),
    [
        ("max-age=60", "", 29, True),
        ("max-age=60", "", 31, False),
        ("max-age=60, stale-while-revalidate=5", "", 4, True),
        ("max-age=60, stale-while-revalidate=5", "", 6, False),
        ("max-age=60, stale-while-revalidate=100", "", 99, True),
        ("max-age=60, stale-while-revalidate", "", 1, False),
        ("max-age=9, stale-while-revalidate=0", "max-age=60, stale-while-revalidate=50", 49, True),
        ("max-age=9, must-revalidate", "max-age=60", 29, True),
        ("max-age=60, stale-while-revalidate=50", "max-age=60, must-revalidate", 1, False),
        ("max-age=60, must-revalidate, stale-while-revalidate=50", "", 1, False),
        ("max-age=60, proxy-revalidate, stale-while-revalidate=50", "", 1, False),
        ("s-maxage=60, stale-while-revalidate=50", "", 1, False),
        ("max-age=60, no-cache, stale-while-revalidate=50", "", -50, False),
        ("max-age=0", "", -50, False),
        ("max-age=0, stale-while-revalidate=50", "", -11, True),
    ],
)
async def test_whether_it_is_used_while_it_is_revalidated(
    site: Site, cache_control: str, cdn: str, past: float, stale: bool
) -> None:
    await known(site, past, cache_control, **({"CDN-Cache-Control": cdn} if cdn else {}))
    reply = await ask(site)
    assert_whole(reply)
    assert ("stale-while-revalidate" in reply.cache_status) is stale
    assert asked(site) == 1


@decided_once
@pytest.mark.parametrize(
    ("cache_control", "cdn", "past", "stale"),
    [
        ("max-age=60", "", 599, True),
        ("max-age=60, stale-if-error=100", "", 99, True),
        ("max-age=60, stale-if-error=100", "", 101, False),
        ("max-age=60, stale-if-error=0", "", 31, False),
        ("max-age=60, stale-if-error=0", "max-age=60, stale-if-error=50", 49, True),
        ("max-age=0", "", 500, True),
        ("max-age=60, must-revalidate, stale-if-error=999", "", 1, False),
        ("max-age=60, proxy-revalidate", "", 1, False),
        ("s-maxage=60", "", 1, False),
        ("no-cache", "", 1, False),
    ],
)
async def test_whether_it_is_used_if_the_origin_fails(
    site: Site, cache_control: str, cdn: str, past: float, stale: bool
) -> None:
    await known(site, past, cache_control, **({"CDN-Cache-Control": cdn} if cdn else {}))
    site.origin.fault(Error(500), times=None)
    reply = await ask(site)
    assert reply.status == (200 if stale else 502)
    assert is_stale(reply) is stale


async def test_windows_may_be_switched_off(serve: Serve) -> None:
    off = SETTINGS | {"stale_while_revalidate": 0, "stale_if_error": 0}
    async with serve(freshness=off, fetch=ONCE) as site:
        await known(site, 1)
        site.origin.fault(Error(500), times=None)
        assert (await ask(site)).status == 502


# Purges


async def test_what_was_purged_softly_is_revalidated_first(site: Site) -> None:
    await known(site, -50)
    await purge(site, {"key": KEY, "soft": True})
    reply = await ask(site)
    assert_whole(reply)
    assert reply.cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=60"


@pytest.mark.parametrize("target", [{"key": KEY}, {"prefix": "outputs/"}], ids=["key", "prefix"])
async def test_what_was_purged_softly_stands_in_for_a_failing_origin(
    site: Site, target: Mapping[str, str]
) -> None:
    await known(site, -50)
    await purge(site, {**target, "soft": True})
    site.origin.fault(Error(500), times=None)
    reply = await ask(site)
    assert_whole(reply)
    assert 'detail="stale-if-error"' in reply.cache_status
    site.origin.faults.clear()
    site.clock.advance(1)
    assert (await ask(site)).cache_status == "edgecache; fwd=stale; fwd-status=304; ttl=60"


async def test_what_was_purged_is_not_used(site: Site) -> None:
    await known(site, 1)
    await purge(site, {"key": KEY})
    site.origin.fault(Error(500), times=None)
    assert (await ask(site)).status == 502


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[ObjectKey]:
    """What was looked for in the catalog."""
    found: list[ObjectKey] = []
    get = Catalog.get

    async def noted(self: Catalog, key: ObjectKey, route: Route) -> Known | None:
        found.append(key)
        return await get(self, key, route)

    monkeypatch.setattr(Catalog, "get", noted)
    return found


@pytest.mark.parametrize("origin", ["fails", "hangs", "answers"])
async def test_a_purge_while_the_origin_is_asked_is_obeyed(
    site: Site, lookups: list[ObjectKey], monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    await known(site, 300)
    gate = site.origin.hold()
    if origin == "fails":
        site.origin.fault(Error(500))
    if origin == "hangs":
        monkeypatch.setattr(lookup, "STALE_PATIENCE", 0.3)
    lookups.clear()

    async def replace() -> None:
        await gate.reached.wait()
        await purge(site, {"key": KEY})
        site.origin.put(KEY, b"another", etag="two")
        if origin == "hangs":
            await until(lambda: len(lookups) >= 3)  # at first, after its patience, and anew
        gate.release()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(replace())
        reply = await site.get(PATH)
    assert (reply.body, is_stale(reply)) == (b"another", False)


# A client that leaves


async def test_a_client_that_leaves_ends_no_revalidation(site: Site) -> None:
    await known(site, 300)
    gate = site.origin.hold()
    async with site.connect() as wire:
        await wire.send(serving.request_bytes("GET", PATH))
        await gate.reached.wait()
    gate.release()
    await site.idle()
    assert (await ask(site)).cache_status == "edgecache; hit; ttl=60"
    assert asked(site) == 1
