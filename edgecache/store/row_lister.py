"""The whole index, for who looks over a folder from outside. Rule: SELECTs only; unlike the reader
of a server, what can't be read is an error."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.index_files import DATABASE
from edgecache.store.index_rows import SLICE
from edgecache.store.meta_format import decode_meta
from edgecache.store.rows import MODE_TEXT

PATIENCE = 10.0  # seconds, for a lock

COUNT = f"SELECT count(*), coalesce(sum(size), 0) FROM Cache WHERE {SLICE}"  # noqa: S608
SELECT_NAMES = f"SELECT key FROM Cache WHERE {SLICE} AND key >= ? AND key < ?"  # noqa: S608
HAS_NAME = f"SELECT 1 FROM Cache WHERE {SLICE} AND key = ?"  # noqa: S608
SELECT_META = f"SELECT key, value FROM Cache WHERE tag = ? AND raw = 1 AND mode = {MODE_TEXT}"  # noqa: S608


class RowLister:
    """Blocking, and of one thread. A server may write at the same time."""

    def __init__(self, directory: Path) -> None:
        """:raises StoreError: there is an index that can't be opened."""
        self._connection: sqlite3.Connection | None = None
        database = directory / DATABASE[0]
        if database.exists():
            with readable():
                self._connection = opened(database)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def count(self) -> tuple[int, int]:
        """(slices, bytes of their files)"""
        for count, size in self._select(COUNT):
            return count, size
        return 0, 0

    def names(self, prefix: str) -> set[str]:
        """The names of slices that begin so; `prefix` ends with a slash."""
        return {str(row[0]) for row in self._select(SELECT_NAMES, prefix, f"{prefix[:-1]}0")}

    def has(self, name: str) -> bool:
        return bool(self._select(HAS_NAME, name))

    def meta_of(self, version: str) -> ObjectMeta | None:
        """The stored response of that version, if there is one."""
        for name, value in self._select(SELECT_META, version):
            origin, _, key = str(name).removeprefix("meta:").partition("\n")
            meta = decode_meta(value, ObjectKey(origin, key))
            if meta is not None and meta.version == version:
                return meta
        return None

    def _select(self, statement: str, *values: str) -> list[Any]:
        if self._connection is None:
            return []
        with readable():
            return self._connection.execute(statement, values).fetchall()


def opened(database: Path) -> sqlite3.Connection:
    """Where nothing can be written, SQLite reads a database of this kind only as one that nobody
    changes."""
    uri = database.absolute().as_uri()
    try:
        return tried(f"{uri}?mode=ro")
    except sqlite3.OperationalError:
        return tried(f"{uri}?immutable=1")


def tried(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"the index cannot be read: {error}",
            hint="a server sets such an index aside at its next start, and begins another",
        ) from error
