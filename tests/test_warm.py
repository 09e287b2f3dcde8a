"""What is warmed gives way: to viewers at the origin, to what is there in the store."""

import asyncio
import json

import pytest

from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.web.test_warming import DATA, KEY, SMALL, ask, bought, warm

serve = serving.serve
site = serving.site
ON_DISK = pytest.mark.parametrize("serve", ["disk"], indirect=True)


async def test_viewers_go_first(serve: Serve) -> None:
    """While they have half of the origin's connections nothing is begun for anybody else."""
    async with serve(
        fetch={"connections": 4, "first_run": SLICE, "image_run": SLICE, "max_run": SLICE}
    ) as site:
        gates = []
        for number in range(2):
            site.origin.put(f"outputs/{number}.bin", SMALL)
            gates.append(site.origin.hold(f"outputs/{number}.bin"))
        site.origin.put(KEY, DATA)
        viewers = [
            asyncio.ensure_future(site.get(f"/outputs/{number}.bin"))  # noqa: TID251
            for number in range(2)
        ]
        await asyncio.gather(*(gate.reached.wait() for gate in gates))
        warming = asyncio.ensure_future(warm(site))  # noqa: TID251
        await site.looked_up()
        assert site.origin.asked(KEY) == []
        gates[0].release()
        assert await warming == ("stored", DATA.length)
        gates[1].release()
        await asyncio.gather(*viewers)


async def test_a_quarter_of_the_connections_is_the_most(serve: Serve) -> None:
    async with serve(fetch={"connections": 8}) as site:
        gate = site.origin.hold("outputs/", times=None)
        keys = [f"outputs/{number}.bin" for number in range(6)]
        for key in keys:
            site.origin.put(key, SMALL)
        warming = asyncio.gather(*(warm(site, key) for key in keys))
        await site.origin.arrived(2)
        await site.looked_up()
        assert len(site.origin.requests) == 2
        gate.release()
        assert await warming == [("stored", SMALL.length)] * 6
        assert site.origin.max_concurrent == 2


@ON_DISK
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_nothing_is_evicted_unless_it_is_told_to(serve: Serve, known: bool) -> None:
    async with serve(cache={"size": 128 * SLICE}) as site:
        keys = [f"outputs/{number}.bin" for number in range(8)]
        for number, key in enumerate(keys):
            site.origin.put(key, Pattern(20 * SLICE, seed=number))
            if known:
                await site.head(f"/{key}")
        results = [(await warm(site, key))[0] for key in keys]
        there = results.index("no-room")
        assert results == ["stored"] * there + ["no-room"] * (8 - there)
        assert there > 2
        assert [(await warm(site, key))[0] for key in keys[:there]] == ["hit"] * there
        reply = await ask(site, {"objects": [{"key": keys[-1]}], "evict": True})
        (answer,) = json.loads(reply.body)["objects"]
        assert answer["result"] == "stored"
        assert (await warm(site, keys[0]))[0] != "hit"


async def test_a_store_that_refuses_is_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> bool:
        await asyncio.sleep(0)
        return False

    site.origin.put(KEY, DATA)
    monkeypatch.setattr(site.server.store, "put", refuse)
    assert await warm(site) == ("not-stored", 0)
    await site.idle()
    assert bought(site) <= 4 * SLICE  # nothing is bought in vain for long


@ON_DISK
async def test_what_is_larger_than_the_cache_is_not_begun(serve: Serve) -> None:
    async with serve(cache={"size": 64 * SLICE}) as site:
        site.origin.put(KEY, Pattern(65 * SLICE))
        assert (await warm(site))[0] == "too-large"
        await site.idle()
        assert bought(site) <= SLICE
        assert (await warm(site))[0] == "too-large"
