"""An index of slices that is open, and what its database holds."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.store.index import SliceIndex
from edgecache.store.index_rows import Found, Rows
from tests.slices import meta_of

META = meta_of()
NAMES = [f"v2-1/ab/{'ab' * 16}-0", f"v2-1/ab/{'ab' * 16}-1", f"v2-1/cd/{'cd' * 16}-0"]
EMPTY = Rows(0, 0)
UNKNOWN = (0, 0.0)  # the count and priority of a slice that is new


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def index(folder: Path) -> Iterator[SliceIndex]:
    index = SliceIndex(folder, 2**30)
    assert index.open() == EMPTY
    yield index
    index.close_reader()
    index.close()


def reopened(index: SliceIndex) -> Rows:
    index.close_reader()
    return index.open()


def rows_of(index: SliceIndex) -> list[tuple[str, int, int, float]]:
    """Opened again."""
    rows: list[tuple[str, int, int, float]] = []

    def take(found: Found) -> int:
        rows[:] = found.rows
        return len(rows)

    index.close_reader()
    assert index.open(take).slices == len(rows)
    return rows


def sql(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()
