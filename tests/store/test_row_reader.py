"""The index, read past its owner."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.marks import Kind, Mark, Target
from edgecache.store.files import SliceFiles
from edgecache.store.index import SliceIndex
from edgecache.store.index_files import DATABASE
from edgecache.store.index_rows import meta_name
from edgecache.store.row_reader import PATIENCE, RowReader
from tests.slices import SIZE, sliced
from tests.store.support import CLIP, plant

FILES = SliceFiles(Path("unused"), SIZE)
NAMES = [FILES.name(CLIP.key(number)) for number in range(12)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SliceIndex]:
    index = SliceIndex(tmp_path, 2**30)
    index.open()
    yield index
    index.close()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[RowReader]:
    rows = RowReader(tmp_path, SliceFiles(tmp_path, SIZE))
    yield rows
    rows.close()


def knows(rows: RowReader) -> bool:
    return rows.load_meta(CLIP.meta.key) == CLIP.meta


def test_rows_are_seen_as_they_come_and_go(index: SliceIndex, rows: RowReader) -> None:
    for number in (0, 7, 10, 11):
        index.add(NAMES[number], 100, gone=())
    assert rows.slices(CLIP.meta.version) == {0, 7, 10, 11}
    assert not knows(rows)
    index.save_meta(CLIP.meta)
    assert knows(rows)
    index.add(NAMES[1], 100, gone=[NAMES[0], NAMES[10]])
    assert rows.slices(CLIP.meta.version) == {1, 7, 11}
    index.remove_meta(CLIP.meta.key)
    assert not knows(rows)


def test_what_was_purged_is_not_seen_and_what_came_since_is(
    index: SliceIndex, rows: RowReader
) -> None:
    index.save_meta(CLIP.meta)
    index.save_mark(Mark(1, Target(Kind.PREFIX, "inputs/")))
    assert knows(rows)
    soft = Mark(2, Target(Kind.PREFIX, "outputs/"), soft=True)
    index.save_mark(soft)
    assert rows.load_meta(CLIP.meta.key) == replace(CLIP.meta, stale=True)
    index.save_mark(Mark(3, Target(Kind.ALL)))
    assert rows.load_meta(CLIP.meta.key) is None
    since = replace(CLIP.meta, epoch=3)
    index.save_meta(since)
    assert rows.load_meta(CLIP.meta.key) == since


def test_by_a_damaged_mark_nothing_is_known(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    index.save_meta(CLIP.meta)
    index.save_mark(Mark(1, Target(Kind.PREFIX, "inputs/")))
    index._cache._sql("UPDATE Cache SET value = 'x' WHERE key LIKE 'purge:%'")
    assert rows.load_meta(CLIP.meta.key) is None


def test_slices_are_of_the_version_alone(index: SliceIndex, rows: RowReader) -> None:
    version = CLIP.meta.version
    tree = NAMES[0].split("/")[0]
    for name in (
        NAMES[3],
        FILES.name(sliced("other.mp4").key()),
        f"v2-{2 * SIZE}/{version[:2]}/{version}-4",  # of another slice size
        f"{tree}/{version[:2]}/{version}-05",  # not the name of a slice
        f"{tree}/{version[:2]}/{version}-",
        f"{tree}/{version[:2]}/{version}-6.bak",
    ):
        index.add(name, 100, gone=())
    assert rows.slices(version) == {3}
    assert rows.slices("") == set()


def test_an_index_that_was_set_aside_is_left_for_the_new_one(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    index.save_meta(CLIP.meta)
    index.add(NAMES[0], 100, gone=())
    assert knows(rows)
    index._lost = True
    index.open()
    assert (tmp_path / "broken-1" / DATABASE[0]).exists()
    assert not knows(rows)
    assert rows.slices(CLIP.meta.version) == set()
    newer = sliced(etag='"v2"')
    index.save_meta(newer.meta)
    index.add(NAMES[2], 100, gone=())
    assert rows.load_meta(CLIP.meta.key) == newer.meta
    assert rows.slices(CLIP.meta.version) == {2}


def test_closing_the_old_one_leaves_the_log_of_the_new_one(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    """SQLite names a log by its database's path, which is the new one's by now."""
    index.save_meta(CLIP.meta)
    assert knows(rows)
    index._lost = True
    index.open()
    index.save_meta(CLIP.meta)
    assert knows(rows)
    assert all((tmp_path / name).exists() for name in DATABASE)
    index.add(NAMES[0], 100, gone=())
    index.close()
    assert rows.slices(CLIP.meta.version) == {0}
    index.open()
    assert knows(rows)


def test_an_index_that_is_gone_is_not_known_until_it_is_back(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    assert not knows(RowReader(tmp_path / "none", FILES))
    index.save_meta(CLIP.meta)
    assert knows(rows)
    (tmp_path / DATABASE[0]).rename(tmp_path / "elsewhere")
    assert not knows(rows)
    (tmp_path / "elsewhere").rename(tmp_path / DATABASE[0])
    assert knows(rows)


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, b"SQLite format 3\0" * 300])
def test_what_is_no_index_is_not_known(tmp_path: Path, rows: RowReader, content: bytes) -> None:
    (tmp_path / DATABASE[0]).write_bytes(content)
    assert not knows(rows)
    assert rows.slices(CLIP.meta.version) == set()


def test_a_damaged_index_is_not_known(tmp_path: Path, index: SliceIndex, rows: RowReader) -> None:
    for number in range(200):
        index.save_meta(sliced(f"{number}.mp4").meta)
    index.save_meta(CLIP.meta)
    index.close()
    data = bytearray((tmp_path / DATABASE[0]).read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 200] = b"\xff" * 200
    (tmp_path / DATABASE[0]).write_bytes(data)
    assert not knows(rows)
    assert rows.slices(CLIP.meta.version) == set()


def test_a_locked_index_is_not_known_and_soon(tmp_path: Path, rows: RowReader) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE[0], isolation_level=None)) as other:
        other.execute("CREATE TABLE Cache (key, raw, mode, value)")
        values = (meta_name(CLIP.meta.key), 1, 3, "")
        other.execute("INSERT INTO Cache VALUES (?, ?, ?, ?)", values)
        assert not knows(rows)
        other.execute("BEGIN EXCLUSIVE")
        assert not knows(rows)
        assert rows.slices(CLIP.meta.version) == set()
    assert PATIENCE < 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("value", "1 0000 {}"),
        ("value", ""),
        ("value", None),
        ("value", 5),
        ("value", b"1 0 {}"),
        ("value", 1.5),
        ("mode", 4),
        ("raw", 0),
    ],
)
def test_a_row_that_is_wrong_is_not_known(
    tmp_path: Path, index: SliceIndex, rows: RowReader, column: str, value: object
) -> None:
    index.save_meta(CLIP.meta)
    assert knows(rows)
    plant(tmp_path, f"UPDATE Cache SET {column} = ?", value)
    assert not knows(rows)


def test_text_that_is_no_text_is_not_known(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    index.save_meta(CLIP.meta)
    plant(tmp_path, "UPDATE Cache SET value = CAST(x'ff31' AS TEXT)")
    assert not knows(rows)
    index.save_meta(CLIP.meta)
    assert knows(rows)


def test_another_objects_row_is_not_known(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    other = sliced("other.mp4").meta
    index.save_meta(other)
    plant(tmp_path, "UPDATE Cache SET key = ?", meta_name(CLIP.meta.key))
    assert rows.load_meta(CLIP.meta.key) is None
    assert rows.load_meta(other.key) is None


def test_nothing_can_be_written(index: SliceIndex, rows: RowReader) -> None:
    index.save_meta(CLIP.meta)
    assert rows._select("DELETE FROM Cache RETURNING key") == []
    assert knows(rows)


def test_a_reader_does_not_keep_the_log_from_being_folded_in(
    tmp_path: Path, index: SliceIndex, rows: RowReader
) -> None:
    """The log is what the bound keeps room for: no reader may make it grow without end."""
    for number in range(2000):
        index.save_meta(sliced(f"{number % 50}.mp4").meta)
        if number % 10 == 0:
            rows.load_meta(CLIP.meta.key)
            rows.slices(CLIP.meta.version)
    used, growth = index.measure()
    assert growth >= 0
    assert used < 2 * 1000 * 4200


def test_once_closed_it_connects_again(index: SliceIndex, rows: RowReader) -> None:
    index.save_meta(CLIP.meta)
    assert knows(rows)
    rows.close()
    rows.close()
    assert knows(rows)


def test_shared_memory_that_was_cut_is_not_touched_until_the_keeper_mends_it(
    index: SliceIndex, rows: RowReader, tmp_path: Path
) -> None:
    index.save_meta(CLIP.meta)
    assert knows(rows)
    os.truncate(tmp_path / "cache.db-shm", 0)
    for _ in range(2):
        assert not knows(rows)
    index.look()
    assert knows(rows)
