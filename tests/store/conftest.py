"""A store in a folder, what it tells of removals, and a way to make another one there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
    def make(limit: int = LIMIT, slice_size: int = SIZE, linger: float = 0.0) -> DiskStore:
        return DiskStore(
            directory, limit=limit, slice_size=slice_size, linger=linger, on_removal=removals
        )

    return make


@pytest.fixture
async def store(make: Make) -> AsyncIterator[DiskStore]:
    store = make()
    await store.start()
    yield store
    await store.close()
