"""The index's rows, in SQL: what a start reads, and what may be in there at all.

Rule of this module: what another hand wrote is not believed; a start reads no stored response.
"""

import sqlite3
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from edgecache.core.marks import Mark
from edgecache.core.model import ObjectKey
from edgecache.core.policy import GOES_FIRST
from edgecache.store.mark_format import COUNTER, FIRST, LAST
from edgecache.store.mark_rows import load_marks
from edgecache.store.rows import MODE_FILE, MODE_TEXT

# Rows in one transaction, so that the log does not outgrow what is kept free for it.
MOST_DELETED = 32


class Found(NamedTuple):
    """The slices, as they are read: there may be a million."""

    rows: Iterable[tuple[str, int, int, float]]  # name, length, count, priority; oldest first
    pinned: Container[str]  # versions
    age: float  # of the policy
    total: int  # of all rows, those of stored responses too


# Takes what was found before, if anything, for nothing; how many rows there were.
Take = Callable[[Found], int]


class Rows(NamedTuple):
    """What the index held when it was opened."""

    slices: int
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
    "AND typeof(access_time) = 'real' "
    f"AND (access_time BETWEEN 0 AND 1e12 OR access_time = {GOES_FIRST})"
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
# The age is a setting of ours, in diskcache's table. Where it was not written yet, it is the least
# of what is there: more was never evicted.
SELECT_AGE = (
    "SELECT value FROM Settings WHERE key = 'slice_age' "
    "AND typeof(value) = 'real' AND value BETWEEN 0 AND 1e12"
)
SELECT_LEAST = (
    f"SELECT min(access_time) FROM Cache WHERE {SLICE} AND {IS_USED} AND access_time >= 0"  # noqa: S608
)
SAVE_AGE = "INSERT OR REPLACE INTO Settings (key, value) VALUES ('slice_age', ?)"
FORGET_AGE = "DELETE FROM Settings WHERE key = 'slice_age'"
FORGET_USES = f"UPDATE Cache SET access_count = 0 WHERE mode = {MODE_FILE} AND access_count <> 0"  # noqa: S608
UPDATE_USE = "UPDATE Cache SET access_count = ?, access_time = ? WHERE key = ? AND raw = 1"
DELETE_ONE = "DELETE FROM Cache WHERE key = ? AND raw = 1"


def load(
    connection: sqlite3.Connection, policy: str, take: Take, pins: Iterable[ObjectKey]
) -> Rows:
    """All rows at once: a hundred thousand one by one, through diskcache, would take seconds.
    `pins`: beginnings of keys."""
    if connection.execute(SELECT_POLICY).fetchone() != (policy,):
        with connection:  # one policy's priorities say nothing to another
            connection.execute(FORGET_USES)
            connection.execute(FORGET_AGE)
    pinned = versions(connection, pins)
    # To count is quick: indexes tell. To look for what to delete is to read all rows once more.
    (count,) = connection.execute(COUNT).fetchone()
    slices = take(Found(connection.execute(SELECT_SLICES), pinned, age(connection), count))
    (tagged,) = connection.execute(COUNT_VERSIONS).fetchone()
    last_mark, marks = load_marks(connection.execute)
    if others := count - slices - tagged - len(marks) - (last_mark > 0):
        with connection:
            connection.execute(DELETE_OTHERS)
    return Rows(slices, others, marks, last_mark)


def versions(connection: sqlite3.Connection, under: Iterable[ObjectKey]) -> set[str]:
    """Those of objects whose keys begin so."""
    starts = map(meta_name, under)
    return {
        version
        for start in starts
        for (version,) in connection.execute(SELECT_UNDER, (start, start))
    }


def age(connection: sqlite3.Connection) -> float:
    known = connection.execute(SELECT_AGE).fetchone()
    (found,) = known or connection.execute(SELECT_LEAST).fetchone()
    return found or 0.0


def count_rows(found: Found) -> int:
    """For who does not want them."""
    return sum(1 for _ in found.rows)


def meta_name(key: ObjectKey) -> str:
    """Keys hold no control characters, so no two of them get one name."""
    return f"meta:{key.origin}\n{key.key}"
