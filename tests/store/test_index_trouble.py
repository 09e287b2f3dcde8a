"""An index whose files were removed, replaced or cut, or that a shortage keeps from opening."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.store.index import SliceIndex
from edgecache.store.index_files import DATABASE, remove
from tests.store import indexes
from tests.store.indexes import EMPTY, META, NAMES, reopened, rows_of
from tests.store.test_index import locked, other_schema, zero

folder, index = indexes.folder, indexes.index


@pytest.mark.parametrize("code", ["SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_PROTOCOL"])
def test_a_shortage_is_no_reason_to_set_an_index_aside(
    index: SliceIndex, folder: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Without descriptors SQLite says that it is unable to open the database."""
    index.add(NAMES[0], 100, gone=())
    index.close()

    def short(*_args: object, **_kwargs: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = getattr(sqlite3, code)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("diskcache.Cache.__init__", short)
        with pytest.raises(StoreError, match="unable to open"):
            index.open()
    assert rows_of(index) == [(NAMES[0], 100, 0, 0.0)]
    assert index.losses == 0


def test_a_log_cut_short_under_way_is_got_over(index: SliceIndex, folder: Path) -> None:
    """SQLite calls it an I/O error, for as long as anybody has the log open."""
    index.save_meta(META)
    assert index.load_meta(META.key) == META
    os.truncate(folder / "cache.db-wal", 100)
    with closing(sqlite3.connect(folder / "cache.db")) as other:  # as a worker has it open
        with suppress(sqlite3.Error):
            other.execute("SELECT count(*) FROM Cache").fetchone()
        index._cache.close()
        with pytest.raises(StoreError, match="disk I/O error"):
            index.add(NAMES[0], 100, gone=())
        assert not index.usable
        assert reopened(index) == EMPTY
        index.add(NAMES[1], 100, gone=())
    assert rows_of(index) == [(NAMES[1], 100, 0, 0.0)]


def test_an_index_in_whose_way_something_stands_is_set_aside(
    index: SliceIndex, folder: Path
) -> None:
    for number, place in enumerate(("broken-1", "broken-2", "cache.db-wal")):
        index.close()
        (folder / "cache.db").write_text("garbage")
        remove(folder / place)
        (folder / place).touch() if "broken" in place else (folder / place).mkdir()
        assert reopened(index) == EMPTY
        assert index.losses == number + 1
        assert (folder / "broken-1" / "cache.db").read_text() == "garbage"


@pytest.mark.parametrize("name", DATABASE)
def test_an_index_whose_files_are_not_its_own_any_more_is_lost(
    index: SliceIndex, folder: Path, name: str
) -> None:
    """Others would go by what is there, and that would not change any more."""
    index.add(NAMES[0], 100, gone=())
    (folder / name).rename(folder / "away")
    with pytest.raises(StoreError, match="removed or replaced"):
        index.add(NAMES[1], 100, gone=())
    assert [index.usable] == [False]
    assert reopened(index) == EMPTY
    assert index.losses == 1


def test_a_transaction_that_failed_is_no_loss(index: SliceIndex, folder: Path) -> None:
    """SQLite removes the log when the last one closes, and makes another."""
    index._cache._timeout = 0
    index._cache.close()
    index._inodes = None
    lock = locked(folder)
    with pytest.raises(StoreError, match="locked"):
        index.add(NAMES[0], 100, gone=())
    lock.close()
    index.add(NAMES[0], 100, gone=())
    index.add(NAMES[1], 100, gone=())
    assert index.losses == 0


@pytest.mark.parametrize("damage", [zero, other_schema, lambda path: os.truncate(path, 0)])
def test_a_look_finds_what_is_only_right_in_memory(
    index: SliceIndex, folder: Path, damage: Callable[[Path], None]
) -> None:
    for number in range(300):
        index.add(f"{NAMES[0]}{number}", 100, gone=())
    reopened(index)
    index.look()
    damage(folder / "cache.db")
    with pytest.raises(StoreError, match="index: "):
        index.look()
    assert not index.usable
    assert reopened(index) == EMPTY


def test_a_look_is_no_trouble_while_much_is_written(index: SliceIndex) -> None:
    for number in range(3000):
        index.add(f"{NAMES[0]}{number}", 100, gone=[f"{NAMES[0]}{number - 1000}"])
        index.look()
    assert index.losses == 0


def test_a_lost_index_takes_no_more(index: SliceIndex, folder: Path) -> None:
    """What it took would be told as the end of the trouble, and nobody would look again."""
    index.add(NAMES[0], 100, gone=())
    other_schema(folder / "cache.db")
    for _ in range(2):
        with pytest.raises(StoreError, match="index: "):
            index.look()
        with pytest.raises(StoreError, match="lost"):
            index.add(NAMES[1], 100, gone=())
    assert not index.usable


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_shared_memory_that_is_cut_under_it_is_made_anew(
    index: SliceIndex, folder: Path, length: int
) -> None:
    """To touch what was cut off would end the process, and what is left of it is believed."""
    shared = folder / "cache.db-shm"
    whole = shared.stat().st_size
    index.add(NAMES[0], 100, gone=())
    index.save_meta(META)
    assert index.load_meta(META.key) == META
    os.truncate(shared, length)
    with pytest.raises(StoreError, match="cut off"):
        index.load_meta(META.key)
    index.look()
    assert shared.stat().st_size == whole
    assert index.load_meta(META.key) == META
    os.truncate(shared, length)
    index.add(NAMES[1], 100, gone=())
    assert [row[0] for row in rows_of(index)] == NAMES[:2]
    assert index.losses == 0


def test_an_index_whose_shared_memory_is_cut_can_be_closed(index: SliceIndex, folder: Path) -> None:
    index.add(NAMES[0], 100, gone=())
    os.truncate(folder / "cache.db-shm", 0)
    index.close()
    assert [row[0] for row in rows_of(index)] == NAMES[:1]
