"""A store in a folder, what it tells of removals, and a way to make another one there."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edgecache.core.admission import EVERYTHING, Admission
from edgecache.store.disk import DiskStore
from tests.slices import SIZE, Removals
from tests.store.support import LIMIT, Make


@pytest.fixture
def removals() -> Removals:
    return Removals()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make(directory: Path, removals: Removals) -> Make:
    def make(
        limit: int = LIMIT,
        slice_size: int = SIZE,
        linger: float = 0.0,
        min_free: int = 0,
        policy: str = "lru",
        admission: Admission = EVERYTHING,
        clock: Callable[[], float] = time.time,
    ) -> DiskStore:
        return DiskStore(
            directory,
            limit=limit,
            slice_size=slice_size,
            linger=linger,
            min_free=min_free,
            policy=policy,
            admission=admission,
            clock=clock,
            on_removal=removals,
        )

    return make


@pytest.fixture
async def store(make: Make) -> AsyncIterator[DiskStore]:
    store = make()
    await store.start()
    yield store
    await store.close()
