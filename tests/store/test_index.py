import pickle  # noqa: TID251  # to plant what must never be read
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey
from edgecache.store.index import MAX_META, SliceIndex
from edgecache.store.index_rows import Found, Rows, meta_name
from edgecache.store.rows import RowRefused
from tests.slices import meta_of, sliced
from tests.store import indexes
from tests.store.indexes import (
    EMPTY,
    META,
    NAMES,
    UNKNOWN,
    reopened,
    rows_of,
    sql,
)
from tests.store.test_rows import Payload

folder = indexes.folder
index = indexes.index


def test_rows_come_back_in_the_order_in_which_they_came(index: SliceIndex) -> None:
    for length, name in enumerate(reversed(NAMES)):
        index.add(name, 100 + length, gone=())
    index.save_meta(META)
    slices = [(NAMES[2], 100, *UNKNOWN), (NAMES[1], 101, *UNKNOWN), (NAMES[0], 102, *UNKNOWN)]
    assert rows_of(index) == slices
    assert reopened(index) == Rows(3, 0)


def test_an_index_of_before_that_is_read_too(index: SliceIndex, folder: Path) -> None:
    index.add(NAMES[0], 100, gone=())
    sql(folder, "DROP INDEX Cache_slices")
    for _ in range(2):
        assert rows_of(index) == [(NAMES[0], 100, *UNKNOWN)]


def test_versions_are_told_but_not_those_that_are_known(index: SliceIndex) -> None:
    metas = [meta_of(f"outputs/{number}.mp4") for number in range(3)]
    for meta in metas:
        index.save_meta(meta)
    index.add(NAMES[0], 100, gone=())
    known = metas[1].version
    assert set(index.other_versions(known.__eq__)) == {metas[0].version, metas[2].version}


def test_a_row_comes_as_others_go(index: SliceIndex) -> None:
    index.add(NAMES[0], 100, gone=())
    index.add(NAMES[1], 100, gone=[NAMES[0]])
    index.remove([NAMES[2]])  # which is not there
    assert rows_of(index) == [(NAMES[1], 100, *UNKNOWN)]


def test_stored_responses_are_kept_by_key(index: SliceIndex) -> None:
    other = meta_of("outputs/other.mp4")
    assert index.load_meta(META.key) is None
    index.save_meta(META)
    index.save_meta(other)
    index.save_meta(newer := replace(META, etag='"v2"'))
    assert (index.load_meta(META.key), index.load_meta(other.key)) == (newer, other)
    index.remove_meta(META.key)
    assert (index.load_meta(META.key), index.load_meta(other.key)) == (None, other)


def test_versions_are_forgotten_but_not_the_one_that_came_after(index: SliceIndex) -> None:
    old, other = META, meta_of("outputs/other.mp4")
    new = replace(META, etag='"v2"')
    for meta in (old, other, new):
        index.save_meta(meta)
    index.forget([old.version, other.version, "unknown"])
    assert (index.load_meta(META.key), index.load_meta(other.key)) == (new, None)


def test_a_stored_response_of_any_size_is_not_stored(index: SliceIndex) -> None:
    large = replace(META, headers=(("x-large", "x" * MAX_META),))
    assert not index.save_meta(large)
    assert index.load_meta(META.key) is None


PLANTED = {
    "a pickled value": "INSERT INTO Cache (key, raw, mode, value) VALUES ('k', 1, 4, ?)",
    "a pickled slice": f"INSERT INTO Cache (key, raw, mode, value, size) "
    f"VALUES ('v2-1/ab/{'ab' * 16}-0', 1, 4, ?, 1)",
    "a pickled key": "INSERT INTO Cache (key, raw, mode, size) VALUES (?, 0, 2, 1)",
    "nothing": "INSERT INTO Cache (key, raw, mode, value) VALUES (NULL, NULL, NULL, ?)",
    "text of no version": "INSERT INTO Cache (key, raw, mode, value) VALUES ('k', 1, 1, ?)",
    "a slice of less than nothing": "INSERT INTO Cache (key, raw, mode, size, value) "
    "VALUES ('k', 1, 2, -1000000, ?)",
    "a slice of no size": "INSERT INTO Cache (key, raw, mode, size) VALUES ('k', 1, 2, ?)",
    "a binary key": "INSERT INTO Cache (key, raw, mode, size) VALUES (?, 1, 2, 1)",
}


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_rows_are_deleted_and_counted(
    index: SliceIndex, folder: Path, planted: str
) -> None:
    sql(folder, PLANTED[planted], pickle.dumps(Payload(folder / "marker")))
    assert reopened(index) == Rows(0, refused=1)
    assert reopened(index) == EMPTY
    assert not (folder / "marker").exists()


def test_a_pickled_stored_response_is_refused(index: SliceIndex, folder: Path) -> None:
    index.save_meta(META)
    pickled = pickle.dumps(Payload(folder / "marker"))
    sql(folder, "UPDATE Cache SET mode = 4, value = ?", pickled)
    with pytest.raises(RowRefused):
        index.load_meta(META.key)
    assert not (folder / "marker").exists()


def test_the_stored_response_of_another_key_is_refused(index: SliceIndex, folder: Path) -> None:
    index.save_meta(META)
    other = meta_of("outputs/other.mp4").key
    sql(folder, "UPDATE Cache SET key = ?", meta_name(other))
    with pytest.raises(RowRefused):
        index.load_meta(other)


def zero(database: Path) -> None:
    database.write_bytes(bytes(database.stat().st_size))


def halve(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2 + 1000])


def scribble(database: Path) -> None:
    data = bytearray(database.read_bytes())
    for position in range(0, len(data), 512):
        data[position : position + 64] = b"garbage " * 8
    database.write_bytes(data)


def other_schema(database: Path) -> None:
    database.unlink()
    sql(database.parent, "CREATE TABLE Cache (key, colour)")


def a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


DAMAGES: list[Callable[[Path], None]] = [zero, halve, scribble, other_schema, a_folder]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_cannot_be_read_is_set_aside(
    index: SliceIndex, folder: Path, damage: Callable[[Path], None]
) -> None:
    for number in range(300):
        index.add(f"{NAMES[0]}{number}", 100, gone=())
    index.close()
    damage(folder / "cache.db")
    assert reopened(index) == EMPTY
    assert (folder / "broken-1" / "cache.db").exists()
    index.add(NAMES[0], 100, gone=())
    assert rows_of(index) == [(NAMES[0], 100, *UNKNOWN)]


def test_the_last_two_are_kept(index: SliceIndex, folder: Path) -> None:
    for generation in range(5):
        index.close()
        (folder / "cache.db").write_text(f"garbage {generation}")
        assert reopened(index) == EMPTY
    assert sorted(path.name for path in folder.glob("broken*")) == ["broken-1", "broken-2"]
    assert (folder / "broken-1" / "cache.db").read_text() == "garbage 4"
    assert (folder / "broken-2" / "cache.db").read_text() == "garbage 3"


def test_what_is_set_aside_counts(index: SliceIndex, folder: Path) -> None:
    before, _growth = index.measure()
    index.close()
    (folder / "cache.db").write_bytes(b"garbage " * 2**17)
    reopened(index)
    after, _growth = index.measure()
    assert after - before > 2**20 - 2**18


def test_an_index_that_is_lost_under_way_is_set_aside_at_the_next_opening(
    index: SliceIndex, folder: Path
) -> None:
    for number in range(300):
        index.add(f"{NAMES[0]}{number}", 100, gone=())
    reopened(index)
    scribble(folder / "cache.db")
    with pytest.raises(StoreError, match="index: "):
        index.add(NAMES[2], 100, gone=())
    assert [index.usable] == [False]
    assert reopened(index) == EMPTY
    assert [index.usable] == [True]


def test_a_full_disk_is_no_reason_to_set_an_index_aside(
    index: SliceIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(NAMES[0], 100, gone=())
    index.close()

    def full(*_args: object, **_kwargs: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("diskcache.Cache.__init__", full)
        with pytest.raises(StoreError, match="full"):
            index.open()
    assert not index.usable
    assert rows_of(index) == [(NAMES[0], 100, *UNKNOWN)]
    assert not (folder / "broken-1").exists()


def locked(folder: Path) -> sqlite3.Connection:
    """As if the disk refused SQLite's writes, for as long as it is open."""
    connection = sqlite3.connect(folder / "cache.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_rows_that_could_not_be_deleted_are_deleted_later(index: SliceIndex, folder: Path) -> None:
    for name in NAMES:
        index.add(name, 100, gone=())
    index._cache._timeout = 0
    index._cache.close()
    lock = locked(folder)
    with pytest.raises(StoreError, match="index: database is locked"):
        index.remove([NAMES[0]])
    with pytest.raises(StoreError):
        index.save_meta(META)
    lock.close()
    index.add("another", 100, gone=[NAMES[1]])
    assert [row[0] for row in rows_of(index)] == [NAMES[2], "another"]


def test_a_row_that_failed_and_then_came_is_not_deleted_later(
    index: SliceIndex, folder: Path
) -> None:
    index._cache._timeout = 0
    index._cache.close()
    lock = locked(folder)
    with pytest.raises(StoreError):
        index.add(NAMES[0], 100, gone=())
    lock.close()
    index.add(NAMES[0], 100, gone=())
    index.remove([])
    assert rows_of(index) == [(NAMES[0], 100, *UNKNOWN)]


def test_a_lock_hides_nothing_from_the_reader(index: SliceIndex, folder: Path) -> None:
    index.save_meta(META)
    lock = locked(folder)
    assert index.load_meta(META.key) == META
    lock.close()


def test_a_reader_that_fails_is_the_stores_trouble(index: SliceIndex, folder: Path) -> None:
    sql(folder, "DROP TABLE Cache")
    with pytest.raises(StoreError, match="index: no such table"):
        index.load_meta(META.key)


def test_probing_leaves_no_trace(index: SliceIndex) -> None:
    index.probe()
    assert reopened(index) == EMPTY


def test_closed_it_gives_and_takes_nothing(index: SliceIndex) -> None:
    index.close()
    assert not index.usable
    assert index.load_meta(META.key) is None
    with pytest.raises(StoreError, match="not open"):
        index.add(NAMES[0], 100, gone=())


def test_a_deleted_folder_is_no_crash(index: SliceIndex, folder: Path) -> None:
    index.save_meta(META)
    shutil.rmtree(folder)
    assert index.measure()[0] == 0


def test_objects_of_two_origins_do_not_meet() -> None:
    clip = sliced()
    other = clip.meta.key._replace(origin="other")
    assert meta_name(clip.meta.key) != meta_name(other)


def test_pinned_versions_are_found_by_the_beginning_of_their_key(index: SliceIndex) -> None:
    metas = [meta_of(key) for key in ("a/b", "a/\U0010ffff", "b/a", "a")]
    for meta in metas:
        index.save_meta(meta)
    seen = []

    def take(found: Found) -> int:
        seen.append(found.pinned)
        return 0

    for pins in ([ObjectKey("runpod", "a/")], [ObjectKey("other", "a/")], []):
        index.open(take, pins)
    assert seen == [{metas[0].version, metas[1].version}, set(), set()]


def test_as_many_rows_go_at_once_as_the_log_has_room_for(folder: Path) -> None:
    assert SliceIndex(folder, 2**20).batch == 16
    assert SliceIndex(folder, 2**26).batch == 64
    assert SliceIndex(folder, 2**40).batch == 256
