"""The index's rows, in SQL: what a start reads, and what may be in there at all.

Rule of this module: what another hand wrote is not believed; a start reads no stored response.
"""

import sqlite3
from typing import NamedTuple

from edgecache.core.marks import Mark
from edgecache.store.mark_format import COUNTER, FIRST, LAST
from edgecache.store.mark_rows import load_marks
from edgecache.store.rows import MODE_FILE, MODE_TEXT

# Rows in one transaction, so that the log does not outgrow what is kept free for it.
MOST_DELETED = 32


class Rows(NamedTuple):
    """What the index held when it was opened."""

    slices: list[tuple[str, int, int, float]]  # name, length, count, priority; oldest first
    refused: int  # rows that this program did not write; they are deleted
    marks: tuple[Mark, ...] = ()
    last_mark: int = 0


# Rows of this program: keys as they are, slices in files, text with the version it belongs to.
KEY = "raw = 1 AND typeof(key) = 'text'"
SIZE = "typeof(size) = 'integer' AND size BETWEEN 1 AND 1 << 30"
SLICE = f"{KEY} AND mode = {MODE_FILE} AND {SIZE}"
TEXT = f"{KEY} AND mode = {MODE_TEXT} AND typeof(tag) = 'text'"
META = f"{TEXT} AND key >= 'meta:' AND key < 'meta;'"
MARK = f"{TEXT} AND (key = '{COUNTER}' OR key > '{FIRST}' AND key < '{LAST}')"
DELETE_OTHERS = f"DELETE FROM Cache WHERE coalesce(NOT ({SLICE} OR {META} OR {MARK}), 1)"  # noqa: S608
DELETE_METAS = (
    f"DELETE FROM Cache WHERE rowid IN "  # noqa: S608
    f"(SELECT rowid FROM Cache WHERE key >= 'meta:' AND key < 'meta;' LIMIT {MOST_DELETED})"
)
# Where another hand wrote what is no count or priority, they are unknown.
IS_USED = (
    "typeof(access_count) = 'integer' AND access_count BETWEEN 1 AND 1 << 30 "
    "AND typeof(access_time) = 'real' AND access_time BETWEEN 0 AND 1e12"
)
SELECT_SLICES = (
    f"SELECT key, size, iif({IS_USED}, access_count, 0), "  # noqa: S608
    f"iif({IS_USED}, access_time, 0.0) FROM Cache WHERE {SLICE} ORDER BY store_time"
)
# All that this asks for, in its order: the table has the stored responses between the slices, ten
# times the bytes.
INDEX_SLICES = (
    "CREATE INDEX IF NOT EXISTS Cache_slices "
    "ON Cache (store_time, key, size, raw, mode, access_count, access_time) "
    f"WHERE raw = 1 AND mode = {MODE_FILE}"
)
# By the tag alone, for the same reason: a row of others that has one goes like a stored response.
TAGGED = "FROM Cache WHERE tag > '' AND tag < x''"  # text: a blob is more than any
SELECT_VERSIONS = f"SELECT tag {TAGGED}"
COUNT_VERSIONS = f"SELECT count(*) {TAGGED}"
COUNT = "SELECT count(*) FROM Cache"
SELECT_LAST = "SELECT key, raw FROM Cache ORDER BY rowid DESC LIMIT 1"
SELECT_UNDER = f"SELECT tag FROM Cache WHERE {META} AND key BETWEEN ? AND ? || char(0x10ffff)"  # noqa: S608
SELECT_POLICY = "SELECT value FROM Settings WHERE key = 'slice_policy'"
FORGET_USES = f"UPDATE Cache SET access_count = 0 WHERE mode = {MODE_FILE} AND access_count <> 0"  # noqa: S608
UPDATE_USE = "UPDATE Cache SET access_count = ?, access_time = ? WHERE key = ? AND raw = 1"
DELETE_ONE = "DELETE FROM Cache WHERE key = ? AND raw = 1"


def load(connection: sqlite3.Connection, policy: str) -> Rows:
    """All rows at once: a hundred thousand one by one, through diskcache, would take seconds."""
    if connection.execute(SELECT_POLICY).fetchone() != (policy,):
        with connection:  # one policy's priorities say nothing to another
            connection.execute(FORGET_USES)
    slices = connection.execute(SELECT_SLICES).fetchall()
    # To count is quick: indexes tell. To look for what to delete is to read all rows once more.
    (count,) = connection.execute(COUNT).fetchone()
    (versions,) = connection.execute(COUNT_VERSIONS).fetchone()
    last_mark, marks = load_marks(connection.execute)
    if others := count - len(slices) - versions - len(marks) - (last_mark > 0):
        with connection:
            connection.execute(DELETE_OTHERS)
    return Rows(slices, others, marks, last_mark)
