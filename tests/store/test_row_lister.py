"""The index from outside: all of it, while a server writes, and an error where it can't be read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.store.disk import DiskStore
from edgecache.store.files import SliceFiles
from edgecache.store.row_lister import RowLister
from tests.slices import SIZE, sliced

CLIP = sliced(length=3 * SIZE)


async def test_what_a_running_server_has(store: DiskStore, directory: Path) -> None:
    files = SliceFiles(directory, SIZE)
    with closing(RowLister(directory)) as rows:
        assert rows.count() == (0, 0)
        for number in range(2):
            assert await store.put(CLIP.key(number), CLIP.meta, CLIP.data(number))
        assert await store.save_meta(CLIP.meta)
        count, size = rows.count()
        assert count == 2
        assert 2 * SIZE < size < 2 * SIZE + 1000
        names = {files.name(CLIP.key(number)) for number in range(2)}
        assert rows.names(f"v2-{SIZE}/{CLIP.meta.version[:2]}/") == names
        assert rows.names(f"v2-{SIZE}/{'ff' if CLIP.meta.version[:2] != 'ff' else '00'}/") == set()
        assert rows.has(files.name(CLIP.key(0)))
        assert not rows.has(files.name(CLIP.key(2)))
        assert rows.meta_of(CLIP.meta.version) == CLIP.meta
        assert rows.meta_of("0" * 32) is None


async def test_what_a_server_left(store: DiskStore, directory: Path) -> None:
    assert await store.put(CLIP.key(), CLIP.meta, CLIP.data())
    await store.close()
    with closing(RowLister(directory)) as rows:
        assert rows.count()[0] == 1


async def test_a_folder_that_cannot_be_written(
    store: DiskStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite then refuses what it would read with a log beside it."""
    assert await store.put(CLIP.key(), CLIP.meta, CLIP.data())
    await store.close()
    connect = sqlite3.connect

    def refuse(database: str, **options: object) -> sqlite3.Connection:
        if "mode=ro" in database:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(database, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with closing(RowLister(directory)) as rows:
        assert rows.count()[0] == 1


def test_no_index_has_no_rows(tmp_path: Path) -> None:
    with closing(RowLister(tmp_path)) as rows:
        assert rows.count() == (0, 0)
        assert rows.names("v2-1/ab/") == set()
        assert rows.meta_of("0" * 32) is None


@pytest.mark.parametrize("content", [b"not a database, and longer than its header is" * 100, b""])
def test_an_index_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache.db").write_bytes(content)
    with (
        pytest.raises(StoreError, match="the index cannot be read"),
        closing(RowLister(tmp_path)) as rows,
    ):
        rows.count()
