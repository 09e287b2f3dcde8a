"""How much slices are used is written down in batches, and known after a restart."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgecache.core.admission import Admission
from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey
from edgecache.store import upkeep
from edgecache.store.disk import DiskStore
from edgecache.store.index import Use
from tests.conftest import FakeClock
from tests.slices import sliced
from tests.store.support import CLIP, Make, plant, restarted
from tests.store.test_disk import put, read
from tests.waiting import until

POLICIES = pytest.mark.parametrize("policy", ["lfuda", "lru"])


def contents(directory: Path) -> list[bytes]:
    """Of the index and its log."""
    return [(directory / name).read_bytes() for name in ("cache.db", "cache.db-wal")]


def rows(directory: Path) -> dict[str, tuple[int, float]]:
    connection = sqlite3.connect(directory / "cache.db")
    found = connection.execute("SELECT key, access_count, access_time FROM Cache WHERE mode = 2")
    uses = {key: (count, priority) for key, count, priority in found}
    connection.close()
    return uses


def refuse(*_: object) -> None:
    raise StoreError("Read-only file system")


async def started(make: Make, policy: str, *, slices: int = 3, **other: Any) -> DiskStore:
    store = make(policy=policy, **other)
    await store.start()
    for number in range(slices):
        await put(store, CLIP, number)
    return store


@POLICIES
async def test_hits_write_nothing(
    make: Make, directory: Path, policy: str, clock: FakeClock
) -> None:
    store = await started(make, policy, clock=clock)
    await store._upkeep.remember()
    before = contents(directory)
    for _ in range(100):
        clock.advance(60)
        await read(store, CLIP, 1)
        store.used(CLIP.key(2), 5)
    assert contents(directory) == before
    await store._upkeep.remember()
    assert contents(directory) != before
    await store.close()


@POLICIES
async def test_what_was_used_is_known_after_a_restart(
    make: Make, policy: str, clock: FakeClock
) -> None:
    store = await started(make, policy, clock=clock)
    clock.advance(60)
    store.used(CLIP.key(2), 5)
    known = [store.popularity(CLIP.key(number)) for number in range(3)]
    assert None not in known
    store = await restarted(store, make, policy=policy)
    for number, before in enumerate(known):
        after = store.popularity(CLIP.key(number))
        assert before is not None
        assert after is not None
        assert after.count == before.count
        assert after.priority == pytest.approx(before.priority)
    assert store.popularity(CLIP.key(99)) is None
    await store.close()


async def test_the_priorities_of_another_policy_say_nothing(make: Make, directory: Path) -> None:
    store = await started(make, "lru")
    await store.close()
    assert {count for count, _ in rows(directory).values()} == {1}
    store = make(policy="lfuda")
    await store.start()
    assert 0 in {count for count, _ in rows(directory).values()}
    assert store.slices == 3
    await store.close()


async def test_what_nobody_can_have_counted_is_unknown(make: Make, directory: Path) -> None:
    store = await started(make, "lfuda")
    await store.close()
    plant(directory, "UPDATE Cache SET access_count = 'x', access_time = 9e999 WHERE mode = 2")
    store = make(policy="lfuda")
    await store.start()
    assert store.slices == 3
    assert await read(store, CLIP, 1) == CLIP.data(1)
    await store.close()


async def test_it_is_written_a_little_at_a_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two batches whoever stores a slice has its turn."""
    monkeypatch.setattr(upkeep, "ROWS", 4)
    store = await started(make, "lru", slices=10)
    batches: list[int] = []
    written = store._folder.remember

    def noted(uses: list[Use], age: float) -> None:
        batches.append(len(uses))
        written(uses, age)

    monkeypatch.setattr(store._folder, "remember", noted)
    await store._upkeep.remember()
    assert batches == [4, 4, 2]
    await store._upkeep.remember()
    assert batches == [4, 4, 2]
    await store.close()


async def test_it_is_written_by_the_clock(
    make: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "REMEMBER_EVERY", 0.01)
    store = await started(make, "lru")
    await until(lambda: {count for count, _ in rows(directory).values()} == {1})
    await store.close()


async def test_what_cannot_be_written_is_lost_and_nothing_else(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await started(make, "lru")
    store._folder.index._cache.close()
    monkeypatch.setattr("edgecache.store.index.UPDATE_USE", "UPDATE Nothing SET x = ?, y = ?")
    await store._upkeep.remember()
    assert store.trouble()
    assert await read(store, CLIP, 1) == CLIP.data(1)
    await store.close()


async def test_what_cannot_be_written_is_not_kept_for_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses for hours would fill the memory."""
    monkeypatch.setattr(upkeep, "ROWS", 4)
    store = await started(make, "lru", slices=10)
    with monkeypatch.context() as patched:
        patched.setattr(store._folder, "remember", refuse)
        await store._upkeep.remember()
    batches: list[int] = []
    monkeypatch.setattr(store._folder, "remember", lambda uses, _age: batches.append(len(uses)))
    store.used(CLIP.key(2), 5)
    await store._upkeep.remember()
    assert batches == [1]
    await store.close()


@POLICIES
async def test_pinned_slices_go_last_also_after_a_restart(make: Make, policy: str) -> None:
    pins = Admission(pins=(ObjectKey("runpod", "outputs/logo"),))
    logo = sliced("logo.png")
    store = make(policy=policy, admission=pins)
    await store.start()
    await store.save_meta(logo.meta)
    await put(store, logo)
    store = await restarted(store, make, policy=policy, admission=pins)
    for number in range(400):
        await put(store, CLIP, number)
    assert not store.has(CLIP.key(0))
    assert store.has(logo.key())
    await store.close()


async def test_without_a_pin_it_goes(make: Make) -> None:
    logo = sliced("logo.png")
    store = await started(make, "lru", slices=0)
    await put(store, logo)
    for number in range(400):
        await put(store, CLIP, number)
    assert not store.has(logo.key())
    await store.close()


async def test_an_end_does_not_wait_for_all_of_it(
    make: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ROWS", 1)
    monkeypatch.setattr(upkeep, "END_PATIENCE", 0.0)
    store = await started(make, "lru", slices=10)
    await store.close()
    assert 0 in {count for count, _ in rows(directory).values()}


async def test_what_was_cut_short_is_written_next_time(
    make: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ROWS", 4)
    store = await started(make, "lru", slices=10)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.0):
            await store._upkeep.remember()
    await store._upkeep.remember()
    written = [count for count, _ in rows(directory).values()]
    assert sorted(written)[-6:] == [1] * 6
    await store.close()
