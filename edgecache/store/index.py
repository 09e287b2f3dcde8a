"""The index: one row a slice, one row a stored response. diskcache's owner.

Rule of this module: blocking calls only. One thread writes, one may read at the same time; both
close their connection. An index that cannot be read is set aside, and an empty one takes its place.

    cache.db*        the index
    broken-1, -2     the index that could not be read last, and the one before it
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import diskcache

from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.meta_format import decode_meta, encode_meta
from edgecache.store.rows import MODE_FILE, MODE_TEXT, RowRefused, SliceDisk, SliceFile

PAGE = 4096
DATABASE = ("cache.db", "cache.db-wal", "cache.db-shm")
BROKEN = ("broken-1", "broken-2")
MAX_META = 64 * 2**10
# Rows in one transaction, so that the log does not outgrow what is kept free for it.
MOST_DELETED = 32

# What fails for one of these may be sound itself: the disk is full, busy or ill.
NOT_THE_INDEX = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
)
UNREADABLE = (sqlite3.Error, diskcache.Timeout, ValueError, TypeError, AttributeError)
LOST = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Rows(NamedTuple):
    """What the index held when it was opened."""

    slices: list[tuple[str, int]]  # names of files with their lengths, oldest first
    versions: list[str]  # that have a stored response
    refused: int  # rows that this program did not write; they are deleted


class SliceIndex:
    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        # The write-ahead log grows to that many pages before it is folded into the database.
        self._log_pages = max(16, min(1000, limit // (64 * PAGE)))
        self._cache: Any = None
        self._reading: Any = None  # the same, but for an older one that the reader still has open
        self._undeleted: set[str] = set()
        self._aside = 0
        self._lost = False  # SQLite calls it malformed: `open` gives another, empty one

    def open(self) -> Rows:
        """The rows of the index that is there, or none: of a new one."""
        self._retire()
        try:
            if self._lost:
                self._set_aside()
            try:
                rows = self._open()
            except UNREADABLE as error:
                if code(error) in NOT_THE_INDEX:
                    raise
                self._set_aside()
                rows = self._open()
        except (sqlite3.Error, diskcache.Timeout) as error:
            self._retire()
            raise self._failed(error) from error
        self._lost = False
        self._aside = sum(size(file) for name in BROKEN for file in files(self._directory / name))
        return rows

    def _open(self) -> Rows:
        rows = self._load()
        cache = diskcache.Cache.__new__(diskcache.Cache)
        try:
            self._connect(cache)
        except BaseException:
            with suppress(AttributeError):  # it did not get to its first connection
                cache.close()
            raise
        self._cache = cache
        return rows

    def _connect(self, cache: Any) -> None:
        cache.__init__(
            self._directory,
            timeout=5,
            disk=SliceDisk,
            eviction_policy="none",
            cull_limit=0,
            statistics=0,
            tag_index=1,
            sqlite_journal_mode="wal",
            sqlite_synchronous=1,  # NORMAL: a power cut may cost the last rows, not the index
            sqlite_cache_size=2048,
            sqlite_mmap_size=0,
            sqlite_wal_autocheckpoint=self._log_pages,
            sqlite_journal_size_limit=self._log_pages * PAGE,
        )

    def _load(self) -> Rows:
        database = self._directory / DATABASE[0]
        if not database.exists():
            return Rows([], [], 0)
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)
        try:
            return load(connection)
        finally:
            connection.close()

    @property
    def usable(self) -> bool:
        return self._cache is not None and not self._lost

    def _retire(self) -> None:
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def _set_aside(self) -> None:
        self._retire()
        newest, oldest = (self._directory / name for name in BROKEN)
        shutil.rmtree(oldest, ignore_errors=True)
        with suppress(FileNotFoundError):
            newest.rename(oldest)
        newest.mkdir(mode=0o700)
        for name in DATABASE:
            with suppress(FileNotFoundError):
                (self._directory / name).rename(newest / name)
        self._undeleted.clear()

    def close(self) -> None:
        """Called by the writing thread."""
        self._retire()

    def close_reader(self) -> None:
        """Called by the reading thread."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def measure(self) -> tuple[int, int]:
        """Bytes on disk, indexes set aside included; and what the log may yet grow by."""
        database, log, shared = (size(self._directory / name) for name in DATABASE)
        growth = max(0, self._log_pages * (PAGE + 24) - log)
        return database + log + shared + self._aside, growth

    def probe(self) -> None:
        """:raises StoreError: rows cannot be written."""
        with self._transaction():
            self._cache.set("probe", "")
            self._cache.delete("probe")

    def add(self, name: str, length: int, *, gone: Iterable[str]) -> None:
        """Rows of what is `gone` out, the row of `name` in, in one transaction."""
        self._undeleted.update(gone)
        with self._transaction():
            deleted = self._delete_rows()
            # Should the commit fail, the row may be there all the same: it is one to delete.
            self._undeleted.add(name)
            self._cache.set(name, SliceFile(length))
        self._undeleted.difference_update(deleted, (name,))

    def remove(self, gone: Iterable[str]) -> None:
        self._undeleted.update(gone)
        with self._transaction():
            deleted = self._delete_rows()
        self._undeleted.difference_update(deleted)

    def _delete_rows(self) -> list[str]:
        """Also of those that could not be deleted before: they have no file any more."""
        names = list(islice(self._undeleted, MOST_DELETED))
        for name in names:
            self._cache.delete(name)
        return names

    def save_meta(self, meta: ObjectMeta) -> bool:
        text = encode_meta(meta)
        if len(text) > MAX_META:
            return False
        with self._transaction():
            self._cache.set(meta_name(meta.key), text, tag=meta.version)
        return True

    def remove_meta(self, key: ObjectKey) -> None:
        with self._transaction():
            self._cache.delete(meta_name(key))

    def forget(self, versions: Iterable[str]) -> None:
        """Delete their stored responses."""
        with self._transaction():
            for version in versions:
                self._cache.evict(version)

    def forget_all(self) -> None:
        """Delete all stored responses."""
        deleted = -1
        while deleted:
            with self._transaction():
                deleted = self._cache._sql(DELETE_METAS).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._cache is None:
            raise StoreError("the index is not open")
        try:
            with self._cache.transact():
                yield
        except (sqlite3.Error, diskcache.Timeout) as error:
            with suppress(sqlite3.Error):
                self._cache.close()  # and with it a transaction that could not be rolled back
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        self._lost = self._lost or code(error) in LOST
        return StoreError(f"index: {first_cause(error)}")

    def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        """Called by the reading thread.

        :raises RowRefused: what is stored under that key has to go.
        """
        if self._reading is not (cache := self._cache):
            self.close_reader()
            self._reading = cache
        if cache is None:
            return None
        try:
            text = cache.get(meta_name(key))
        except (sqlite3.Error, diskcache.Timeout) as error:
            raise StoreError(f"index: {first_cause(error)}") from error
        if text is None:
            return None
        if (meta := decode_meta(text, key)) is None:
            raise RowRefused("not a stored response of that key")
        return meta


def meta_name(key: ObjectKey) -> str:
    """Keys hold no control characters, so no two of them get one name."""
    return f"meta:{key.origin}\n{key.key}"


# Rows of this program: keys as they are, slices in files, text with the version it belongs to.
KEY = "raw = 1 AND typeof(key) = 'text'"
SIZE = "typeof(size) = 'integer' AND size BETWEEN 1 AND 1 << 30"
SLICE = f"{KEY} AND mode = {MODE_FILE} AND {SIZE}"
META = f"{KEY} AND mode = {MODE_TEXT} AND typeof(tag) = 'text'"
DELETE_OTHERS = f"DELETE FROM Cache WHERE coalesce(NOT ({SLICE} OR {META}), 1)"  # noqa: S608
DELETE_METAS = (
    f"DELETE FROM Cache WHERE rowid IN "  # noqa: S608
    f"(SELECT rowid FROM Cache WHERE mode = {MODE_TEXT} LIMIT {MOST_DELETED})"
)
SELECT_SLICES = f"SELECT key, size FROM Cache WHERE {SLICE} ORDER BY rowid"  # noqa: S608
SELECT_VERSIONS = f"SELECT tag FROM Cache WHERE {META}"  # noqa: S608


def load(connection: sqlite3.Connection) -> Rows:
    """All rows at once: a hundred thousand one by one, through diskcache, would take seconds."""
    slices = connection.execute(SELECT_SLICES).fetchall()
    versions = [version for (version,) in connection.execute(SELECT_VERSIONS)]
    # To count is quick: an index tells. To look for what to delete is to read all rows once more.
    (count,) = connection.execute("SELECT count(*) FROM Cache").fetchone()
    others = count - len(slices) - len(versions)
    if others:
        with connection:
            connection.execute(DELETE_OTHERS)
    return Rows(slices, versions, others)


def files(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from folder.iterdir()


def size(file: Path) -> int:
    try:
        return -(-file.stat().st_size // PAGE) * PAGE
    except OSError:
        return 0


def first_cause(error: BaseException) -> BaseException:
    """diskcache's Timeout, or a failed ROLLBACK, hides what SQLite said first."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def code(error: BaseException) -> int:
    """SQLite's primary result code."""
    return getattr(first_cause(error), "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
