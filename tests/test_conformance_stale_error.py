"""Stale answers when the origin fails (RFC 5861 §4), and never one that can't be ended."""

import asyncio
from collections.abc import Mapping

import pytest

from edgecache import lookup, stream
from edgecache.catalog import Catalog
from edgecache.core.index import Known, Route
from edgecache.core.model import ObjectKey
from tests import staleness
from tests.faults import Action, Error, Reset
from tests.serving import SLICE, Serve, Site, gather
from tests.slices import slice_files
from tests.staleness import (
    DATA,
    FIRST_SLICE,
    IF_ERROR,
    KEY,
    LIFETIME,
    ONCE,
    PATH,
    SETTINGS,
    ask,
    asked,
    assert_whole,
    decided_once,
    is_stale,
    known,
    on_every_path,
    purge,
)
from tests.waiting import until

serve = staleness.serve
site = staleness.site


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
async def test_of_an_origin_that_is_left_alone_nothing_is_said_of_asking(serve: Serve) -> None:
    fetch = {"retries": 0, "breaker_failures": 1, "breaker_pause": 1000}
    async with serve(freshness=SETTINGS, fetch=fetch) as site:
        site.origin.put(KEY, DATA, etag="one")
        await ask(site, FIRST_SLICE)
        site.clock.advance(LIFETIME + 1)
        site.origin.fault(Error(500), times=None)
        await site.get("/outputs/other")
        site.origin.reset()
        reply = await ask(site)
        assert (reply.status, site.origin.requests) == (503, [])
        assert reply.body == b"the origin fails, and not all that was asked for is here\n"
        assert reply.cache_status == 'edgecache; detail="breaker-open"'
        assert 900 < int(reply.headers["Retry-After"]) <= 1000


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
