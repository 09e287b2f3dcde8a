"""What is fetched ahead of a reader: when, how much, in vain, and that nobody ever notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edgecache import stream
from edgecache.core.readahead import FIRST, PAUSE, ROW, AheadLimits
from edgecache.readahead import Readahead
from edgecache.store.memory import MemoryStore
from tests import serving
from tests.cluster import Cluster
from tests.faults import Action, Cut, Error, Gate, Reset
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, Download, at_rest, download, fetch, held, put, span, still
from tests.serving import SLICE, Serve, Site
from tests.stack import SIZE, Stack
from tests.waiting import PATIENCE, until

serve = serving.serve

SLICES = 24
# Each demand is one slice; by the clock, which stands still, no reader is slow.
AHEAD = {"max_run": SLICE, "image_run": SLICE, "readahead": 8 * SLICE, "readahead_connections": 4}
AHEAD["retries"] = 0  # what fails is to be seen to fail
SETTINGS = {"fetch": AHEAD, "log": {"access": "off"}}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    monkeypatch.setitem(serving.VARIANTS, "memory", lambda: serving.on_store(store))
    return store


@pytest.fixture
async def site(store: MemoryStore, serve: Serve) -> AsyncIterator[Site]:
    async with serve(**SETTINGS) as site:
        yield site


def readahead_of(site: Site) -> Readahead:
    assert not isinstance(site.server, Cluster)
    return site.server._lasting.readahead


def hold(site: Site, numbers: range) -> dict[int, Gate]:
    """The answers to requests that begin with one of these slices, before their heads."""
    return {n: site.origin.hold(KEY, range=span(n), times=None) for n in numbers}


def release(gates: dict[int, Gate]) -> None:
    for gate in gates.values():
        gate.release()


def waiting(gates: dict[int, Gate]) -> list[int]:
    return [number for number, gate in gates.items() if gate.waiting]


AT_FIRST = list(range(ROW, ROW + 1 + FIRST))  # what a reader of `ROW` slices has in flight


@asynccontextmanager
async def reading_on(site: Site) -> AsyncIterator[tuple[Download, dict[int, Gate]]]:
    """A client that has read `ROW` slices, and waits as the origin does for all that follow."""
    gates = hold(site, range(ROW, SLICES))
    async with download(site, TARGET) as got:
        assert await got.read(ROW * SLICE) == site.origin.objects[KEY].data.read(0, ROW * SLICE)
        await until(lambda: waiting(gates) == AT_FIRST)
        yield got, gates


# When, and how much


async def test_a_reader_that_goes_on_has_several_requests_in_flight(site: Site) -> None:
    data = put(site, SLICES)
    async with reading_on(site) as (got, gates):
        await still(site)
        assert waiting(gates) == AT_FIRST
        release(gates)
        assert await got.rest() == data.read(ROW * SLICE)
    await at_rest(site)
    assert site.origin.body_bytes == data.length
    assert await site.metric("origin_body_bytes_total", reason="readahead") > data.length / 2
    assert await site.metric("readahead_wasted_bytes_total") == 0
    assert 4 <= site.origin.max_concurrent <= 5


async def test_nothing_is_fetched_for_who_reads_the_first_slices(site: Site) -> None:
    data = put(site, SLICES)
    for last in range(ROW):
        site.origin.reset()
        assert await fetch(site, TARGET, f"bytes=0-{last * SLICE}") == data.read(
            0, last * SLICE + 1
        )
        await at_rest(site)
        assert site.origin.asked(KEY) == [span(last)]
    assert await site.metric("origin_body_bytes_total", reason="readahead") == 0


async def test_nothing_is_fetched_beyond_what_was_asked_for(site: Site) -> None:
    data = put(site, SLICES)
    assert await fetch(site, TARGET, span(2, 9)) == data.read(2 * SLICE, 11 * SLICE)
    await at_rest(site)
    assert site.origin.body_bytes == 9 * SLICE
    assert await site.metric("origin_body_bytes_total", reason="readahead") > 0


async def test_a_hundred_readers_cost_one_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not look like a slow origin."""
    for patience in ("SEEK_PATIENCE", "AHEAD_PATIENCE"):
        monkeypatch.setattr(stream, patience, PATIENCE)
    data = put(site, SLICES)
    async with asyncio.timeout(3 * PATIENCE), asyncio.TaskGroup() as clients:
        bodies = [clients.create_task(fetch(site, TARGET)) for _ in range(100)]
    assert all(body.result() == data.read() for body in bodies)
    await at_rest(site)
    assert site.origin.body_bytes == data.length
    assert await site.metric("origin_body_bytes_total", reason="readahead") > 0


async def test_a_seek_is_served_while_others_wait(site: Site) -> None:
    data = put(site, 2 * SLICES)
    async with reading_on(site) as (got, gates):
        begin = SLICES * SLICE + 5
        assert await fetch(site, TARGET, f"bytes={begin}-{begin + 99}") == data.read(
            begin, begin + 100
        )
        assert waiting(gates) == AT_FIRST
        release(gates)
        assert await got.rest() == data.read(ROW * SLICE)
    await at_rest(site)
    assert site.origin.body_bytes == data.length


async def test_a_seek_does_not_wait_for_what_waits_for_its_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "AHEAD_PATIENCE", 0)
    data = put(site, SLICES)
    gates: dict[int, Gate] = {}
    for number in range(ROW, SLICES):  # the second request of a slice is answered
        gates[number] = site.origin.hold(KEY, range=span(number))
    async with download(site, TARGET) as got:
        begin = await got.read(ROW * SLICE)
        await until(lambda: waiting(gates) == AT_FIRST)
        sought = AT_FIRST[-1]
        assert await fetch(site, TARGET, span(sought)) == data.read(
            sought * SLICE, (sought + 1) * SLICE
        )
        assert gates[sought].waiting
        release(gates)
        assert begin + await got.rest() == data.read()
    await at_rest(site)


async def test_all_readers_together_have_few_slices_in_memory(serve: Serve) -> None:
    """Two fills ahead: a quarter of the origin's connections."""
    keys = [f"outputs/clip-{number}.mp4" for number in range(5)]
    async with serve(**SETTINGS | {"fetch": AHEAD | {"connections": 8}}) as site:
        ahead = readahead_of(site)
        assert ahead.limits.fills == 2
        most = 0
        for number, key in enumerate(keys):
            put(site, SLICES, number, key)

        async def one(number: int) -> None:
            nonlocal most
            async with download(site, f"/{keys[number]}") as got:
                while got.left:
                    await got.read(min(got.left, 1000))
                    most = max(most, len(ahead))

        async with asyncio.TaskGroup() as clients:
            for number in range(len(keys)):
                clients.create_task(one(number))
        await at_rest(site)
        assert most == 2
        assert len(ahead) == 0
        assert site.origin.body_bytes == sum(site.origin.objects[key].data.length for key in keys)


# In vain


async def test_who_leaves_costs_what_is_in_flight(site: Site) -> None:
    put(site, SLICES)
    async with reading_on(site) as (got, gates):
        got.leave()
        await until(lambda: not site.server.metrics.in_flight.value)
        release(gates)
        await at_rest(site)
    assert site.origin.asked(KEY) == [span(number) for number in range(AT_FIRST[-1] + 1)]
    assert await site.metric("origin_body_bytes_total") <= (AT_FIRST[-1] + 1) * SLICE
    assert held(site) == 0
    assert readahead_of(site).waste.open == 0


async def test_what_nobody_came_to_is_wasted_until_somebody_does(site: Site) -> None:
    data = put(site, SLICES)
    gate = site.origin.hold(KEY, range=span(ROW), after=10)
    async with download(site, TARGET) as got:
        await got.read(ROW * SLICE + 10)
        await until(lambda: site.origin.body_bytes >= (ROW + FIRST) * SLICE)
        await until(lambda: len(readahead_of(site)) == 0)
        assert await site.metric("readahead_wasted_bytes_total") == 0
        got.leave()
        await until(lambda: not site.server.metrics.in_flight.value)
        gate.release()
        await at_rest(site)
    assert await site.metric("readahead_wasted_bytes_total") == FIRST * SLICE
    assert readahead_of(site).waste.wasted == FIRST * SLICE
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert await site.metric("readahead_recovered_bytes_total") == FIRST * SLICE
    assert readahead_of(site).waste.wasted == 0
    assert site.origin.body_bytes == data.length


async def test_where_too_much_was_wasted_none_is_bought(site: Site) -> None:
    data = put(site, SLICES)
    waste = readahead_of(site).waste
    waste.buy(2**30)
    waste.lose(2**30)
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert site.origin.max_concurrent == 1
    assert await site.metric("origin_body_bytes_total", reason="readahead") == 0


async def test_a_share_of_zero_is_no_readahead(serve: Serve) -> None:
    async with serve(**SETTINGS | {"fetch": AHEAD | {"waste": 0}}) as site:
        data = put(site, SLICES)
        assert await fetch(site, TARGET) == data.read()
        assert site.origin.max_concurrent == 1


# What the store does not take


async def test_there_is_none_where_the_store_takes_nothing(site: Site, store: MemoryStore) -> None:
    store.failing = True
    data = put(site, SLICES)
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert site.origin.body_bytes == data.length
    assert site.origin.max_concurrent == 1


async def test_where_the_store_stops_to_take_them_it_ends(site: Site, store: MemoryStore) -> None:
    data = put(site, SLICES)
    async with reading_on(site) as (got, gates):
        store.failing = True
        for number in AT_FIRST[1:]:
            gates[number].release()
        await until(lambda: len(readahead_of(site)) == 0)
        assert held(site) == 0
        asked = len(site.origin.requests)
        gates[ROW].release()
        release(gates)
        assert await got.rest() == data.read(ROW * SLICE)
    await at_rest(site)
    assert site.origin.asked(KEY)[asked:] == [
        *(span(number) for number in range(ROW + 1, SLICES - 1)),
        f"bytes={(SLICES - 1) * SLICE}-{data.length - 1}",
    ]
    assert await site.metric("readahead_wasted_bytes_total") == FIRST * SLICE


# What goes wrong at the origin


@pytest.mark.parametrize(
    "action", [Error(500), Error(404), Cut(), Cut(100), Reset(100), Cut(SLICE - 1)]
)
async def test_a_readahead_that_fails_is_not_noticed(site: Site, action: Action) -> None:
    data = put(site, SLICES)
    for number in (ROW + 1, ROW + 3):
        site.origin.fault(action, key=KEY, range=span(number))
    assert await fetch(site, TARGET) == data.read()
    await at_rest(site)
    assert await fetch(site, TARGET) == data.read()


async def test_after_a_failure_there_is_none_for_a_while(site: Site) -> None:
    data = put(site, SLICES)
    site.origin.fault(Error(500), key=KEY, range=span(ROW + 1))
    gate = site.origin.hold(KEY, range=span(ROW))
    async with download(site, TARGET) as got:
        await got.read(ROW * SLICE)
        await until(lambda: len(readahead_of(site)) == 0)
        bought = await site.metric("origin_body_bytes_total", reason="readahead")
        gate.release()
        assert await got.rest() == data.read(ROW * SLICE)
    assert await site.metric("origin_body_bytes_total", reason="readahead") == bought
    site.clock.advance(PAUSE)


@pytest.mark.parametrize("honest", [True, False])
async def test_versions_are_never_mixed(site: Site, honest: bool) -> None:
    old = put(site, SLICES)
    site.origin.quirks.ignore_conditionals = not honest
    async with reading_on(site) as (got, gates):
        gates[ROW].release()
        begin = await got.read(SLICE)
        new = put(site, SLICES, 2)
        release(gates)
        begin += await got.cut()
        assert begin == old.read(ROW * SLICE, ROW * SLICE + len(begin))
    await at_rest(site)
    assert await fetch(site, TARGET) == new.read()


async def test_an_origin_that_sends_everything_is_asked_ahead_in_vain_once(site: Site) -> None:
    data = put(site, SLICES)
    async with reading_on(site) as (got, gates):
        site.origin.quirks.ignore_range = True
        release(gates)
        assert await got.rest() == data.read(ROW * SLICE)
    await at_rest(site)


async def test_what_is_purged_meanwhile_is_not_fetched_ahead(site: Site) -> None:
    data = put(site, SLICES)
    async with reading_on(site) as (got, gates):
        await site.server.catalog.purge(next(iter(site.server.catalog._index._known)))
        release(gates)
        rest = await got.cut()
        assert rest == data.read(ROW * SLICE, ROW * SLICE + len(rest))
    await at_rest(site)
    assert held(site) == 0


# Without sockets: every await in turn


async def read_until(one: Stack, turns: int) -> bool:
    """Whether the reader came to its end before it was stopped."""
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(one.read())
        for _ in range(turns):
            await asyncio.sleep(0)
        return not reader.cancel()


async def test_a_reader_that_is_stopped_anywhere_leaves_nothing_behind() -> None:
    ended, turns, most = False, 0, 0
    while not ended:
        one = Stack()
        one.upstream.data = Pattern(12 * SIZE - 10)
        one.readahead.use(AheadLimits(slice_size=SIZE, slices=6, connections=3, fills=3, waste=0.1))
        ended = await read_until(one, turns)
        most = max(most, len(one.readahead))
        await one.at_rest()
        assert one.leftovers() == {}
        assert (len(one.readahead), one.readahead.waste.open) == (0, 0)
        assert await one.read() == one.upstream.data.read()
        await one.at_rest()
        turns += 1
    assert most == 3
