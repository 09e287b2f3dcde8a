"""Slices that are damaged on the disk, under a running server and before a start: the client sees
nothing of it, in front of one process and of several."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecache.store.slice_format import PART
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.slices import slice_files
from tests.store.test_files import AWAY, DAMAGES, flip

serve = serving.serve

KEY = "outputs/clip.mp4"
TIMES = 4  # so that each worker is asked
in_both_forms = pytest.mark.parametrize("serve", ["disk", "workers"], indirect=True)
# In memory there is nothing to damage.
COLD = {"hot_size": 0}
# What somebody has open is still right, though nobody finds it any more.
UNLINKED = {"missing", "a link", "a folder", "a pipe", "its folder is a file"}
# The place is taken: no slice can be put there.
BLOCKED = {"a folder", "its folder is a file"}


def files_of(site: Site) -> list[Path]:
    return slice_files(site.server.config.cache.dir)


async def check(site: Site, body: Pattern) -> None:
    for _ in range(TIMES):
        reply = await site.get(f"/{KEY}")
        assert (reply.status, reply.body) == (200, body.read())
        await site.idle()


def failures(site: Site) -> int:
    return int(site.server.metrics.integrity_failures.value)


@in_both_forms
@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_under_a_running_server(serve: Serve, damage: str) -> None:
    async with serve(cache=COLD) as site:
        body = Pattern(SLICE)
        site.origin.put(KEY, body)
        await check(site, body)
        DAMAGES[damage](files_of(site)[0])
        await check(site, body)
        if damage not in UNLINKED:
            assert failures(site) == 1
            assert site.origin.body_bytes == 2 * body.length
        await site.restart()
        await check(site, body)
        if damage not in BLOCKED:
            assert (await site.get(f"/{KEY}")).cache_status.startswith("edgecache; hit")


@in_both_forms
@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_before_a_start(serve: Serve, damage: str) -> None:
    """A clean one: nothing is believed because the last server ended well."""
    async with serve(cache=COLD) as site:
        body = Pattern(SLICE)
        site.origin.put(KEY, body)
        await check(site, body)
        await site.server.close()
        DAMAGES[damage](files_of(site)[0])
        await site.restart()
        await check(site, body)
        if damage not in BLOCKED:
            assert failures(site) == (damage not in AWAY)
            assert site.origin.body_bytes == 2 * body.length


@in_both_forms
@pytest.mark.parametrize("running", [True, False])
async def test_one_bit_in_each_of_a_hundred_slices(serve: Serve, running: bool) -> None:
    async with serve(cache=COLD) as site:
        body = Pattern(100 * SLICE)
        site.origin.put(KEY, body)
        await check(site, body)
        if not running:
            await site.server.close()
        for number, file in enumerate(files_of(site)):
            flip(file, -1 - number * 600)
        if not running:
            await site.restart()
        await check(site, body)
        assert failures(site) == 100
        assert site.origin.body_bytes == 2 * body.length
        assert site.server.store.slices == 100


@in_both_forms
@pytest.mark.parametrize(
    "damage", [lambda file: os.truncate(file, 10), lambda file: flip(file, 90)]
)
async def test_damaged_in_the_middle_of_an_answer(
    serve: Serve, damage: Callable[[Path], object]
) -> None:
    async with serve(cache=COLD) as site:
        body = Pattern(100 * SLICE)
        site.origin.put(KEY, body)
        await check(site, body)

        async def damage_all() -> None:
            for file in reversed(files_of(site)):
                damage(file)
                await asyncio.sleep(0)

        reading = asyncio.gather(*(site.get(f"/{KEY}") for _ in range(TIMES)))
        await damage_all()
        assert [reply.body == body.read() for reply in await reading] == [True] * TIMES
        await site.idle()
        await check(site, body)


LONG = {
    "cache": {"slice_size": 2**20, "hot_size": 0},
    "fetch": {"first_run": 2**20, "image_run": 2**20, "max_run": 2**20},
}
# Where in a slice of sixteen parts, from its end.
IN_PARTS = [1, PART - 1, PART + 1, 9 * PART, 15 * PART - 1, 15 * PART + 1]


def flip_at_rest(file: Path, position: int) -> None:
    """As a disk does it: no time tells of it."""
    times = file.stat()
    flip(file, position)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@in_both_forms
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("back", IN_PARTS)
async def test_damaged_in_any_part_of_a_long_slice(serve: Serve, running: bool, back: int) -> None:
    async with serve(**LONG) as site:
        body = Pattern(3 * 2**20)
        site.origin.put(KEY, body)
        await site.get(f"/{KEY}")
        await site.idle()
        if not running:
            await site.server.close()
        for file in files_of(site):
            flip_at_rest(file, -back)
        if not running:
            await site.restart()
        await check(site, body)
        assert failures(site) == 3
        assert site.origin.body_bytes == 2 * body.length
        assert site.server.store.slices == 3


@in_both_forms
async def test_a_range_beside_the_damage_is_a_hit(serve: Serve) -> None:
    async with serve(**LONG) as site:
        body = Pattern(2**20)
        site.origin.put(KEY, body)
        await site.get(f"/{KEY}")
        await site.idle()
        flip_at_rest(files_of(site)[0], -1)
        for first, last in ((0, 10), (PART - 5, 2 * PART + 5), (2 * PART, 3 * PART - 1)):
            reply = await site.get(f"/{KEY}", headers={"Range": f"bytes={first}-{last}"})
            assert (reply.status, reply.body) == (206, body.read(first, last + 1))
        assert site.origin.body_bytes == body.length
        reply = await site.get(f"/{KEY}", headers={"Range": "bytes=-10"})
        assert (reply.status, reply.body) == (206, body.read(2**20 - 10, 2**20))
        assert failures(site) == 1
