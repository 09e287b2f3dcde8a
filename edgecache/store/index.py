"""The index: one row a slice, one row a stored response. diskcache's owner.

Rules of this module: blocking calls only. One thread writes, one may read at the same time; both
close their connection. An index that cannot be read, or whose files are not those that were opened
any more, is set aside, and an empty one takes its place: other processes would go by the files that
are there. Links are not followed.

    cache.db*        the index
    broken-1, -2     the index that could not be read last, and the one before it
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import diskcache

from edgecache.core.errors import StoreError
from edgecache.core.marks import Mark
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store import Step
from edgecache.store.index_files import DATABASE, PAGE, IndexFiles, Inodes, SharedMemory
from edgecache.store.index_rows import (
    DELETE_METAS,
    DELETE_ONE,
    INDEX_SLICES,
    SAVE_AGE,
    SELECT_LAST,
    SELECT_VERSIONS,
    UPDATE_USE,
    Found,
    Rows,
    Take,
    count_rows,
    load,
    meta_name,
)
from edgecache.store.mark_format import mark_name
from edgecache.store.mark_rows import save_counter, save_mark, step
from edgecache.store.meta_format import decode_meta, encode_meta
from edgecache.store.rows import RowRefused, SliceDisk, SliceFile

MAX_META = 64 * 2**10
# Slices that are deleted in one: few in a small cache, for which the log's growth counts.
FEWEST, MOST = 16, 256

# What fails for one of these may be sound itself: the disk is full, busy or ill, or there are no
# descriptors left.
NOT_THE_INDEX = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
UNREADABLE = (sqlite3.Error, diskcache.Timeout, ValueError, TypeError, AttributeError, RowRefused)

# How much a slice is used, as its row has it: count, priority, name.
Use = tuple[int, float, str]


class SliceIndex:
    def __init__(self, directory: Path, limit: int, policy: str = "lfuda") -> None:
        """`policy` names whose priorities the rows have."""
        self.batch = max(FEWEST, min(MOST, limit // 2**20))
        self._policy = policy
        self._directory = directory
        # The write-ahead log grows to that many pages before it is folded into the database.
        self._log_pages = max(16, min(1000, limit // (64 * PAGE)))
        self._cache: Any = None
        self._reading: Any = None  # the same, but for an older one that the reader still has open
        self._undeleted: set[str] = set()
        self._aside = 0
        self._files = IndexFiles(directory)
        self._shared = SharedMemory(directory)
        self._last_mark = 0
        self._inodes: Inodes | None = None  # None: not known, until the next transaction
        self._lost = False  # `open` gives another, empty one
        self.losses = 0  # how often it did

    def open(self, take: Take = count_rows, pins: Iterable[ObjectKey] = ()) -> Rows:
        """The rows of the index that is there, or none: of a new one. `take` is given the slices,
        and told which are pinned: those of keys that begin as one of `pins`."""
        self._retire()
        try:
            if self._lost or self._files.are_blocked():
                self._set_aside()
            try:
                rows = self._open(take, pins)
            except UNREADABLE as error:
                if not is_at_fault(error):
                    raise
                self._set_aside()
                rows = self._open(take, pins)
        except UNREADABLE as error:
            self._retire()
            raise self._failed(error) from error
        if rows.last_mark < self._last_mark:  # another index: what it will hold has seen them
            with self._transaction():
                save_counter(self._cache, self._last_mark)
        self._last_mark = max(rows.last_mark, self._last_mark)
        self._aside = self._files.aside()
        return rows

    def _open(self, take: Take, pins: Iterable[ObjectKey]) -> Rows:
        rows = self._load(take, pins)
        cache = diskcache.Cache.__new__(diskcache.Cache)
        try:
            self._connect(cache)
        except BaseException:
            with suppress(AttributeError):  # it did not get to its first connection
                cache.close()
            raise
        self._cache = cache
        self._inodes = self._files.found()
        self._shared = SharedMemory(self._directory)  # a new file may have an old one's number
        self._shared.is_cut()  # how long it is while it is whole
        return rows

    def check(self) -> None:
        """:raises StoreError: what is there are not the files that were opened."""
        if self._inodes is not None and self._files.found() != self._inodes:
            self._lost = True
            raise StoreError("index: its files were removed or replaced")
        with suppress(OSError):
            self._shared.mend()

    def look(self) -> None:
        """As `check`, and whether others can read it: we have most of it in memory.

        :raises StoreError: it is lost, or cannot be read just now.
        """
        self._check_open()
        self.check()
        # By SQLite only: whoever else opens and closes the file here ends SQLite's locks on it.
        try:
            with closing(self._connection("ro")) as connection:
                connection.execute(SELECT_LAST).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _connection(self, mode: str) -> sqlite3.Connection:
        """Past diskcache."""
        uri = (self._directory / DATABASE[0]).absolute().as_uri()
        return sqlite3.connect(f"{uri}?mode={mode}", uri=True)

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
            slice_policy=self._policy,  # a setting of ours, which diskcache keeps in its table
        )
        cache._sql(INDEX_SLICES)

    def _load(self, take: Take, pins: Iterable[ObjectKey]) -> Rows:
        if not (self._directory / DATABASE[0]).exists():
            return Rows(take(Found((), (), 0.0, 0)), 0)
        with closing(self._connection("rw")) as connection:
            return load(connection, self._policy, take, pins)

    @property
    def usable(self) -> bool:
        return self._cache is not None and not self._lost

    def _retire(self) -> None:
        if self._cache is not None:
            with suppress(OSError):
                self._shared.mend()
            self._cache.close()
            self._cache = self._inodes = None

    def _set_aside(self) -> None:
        self._retire()
        self._files.set_aside()
        self._undeleted.clear()
        self._lost = False
        self.losses += 1

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
        database, log, shared = self._files.sizes()
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
        names = list(islice(self._undeleted, 2 * self.batch))
        self._cache._con.executemany(DELETE_ONE, ((name,) for name in names))
        return names

    def remember(self, uses: Iterable[Use], age: float) -> None:
        with self._transaction():
            self._cache._con.executemany(UPDATE_USE, uses)
            self._cache._sql(SAVE_AGE, (age,))

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

    def other_versions(self, is_known: Callable[[str], bool]) -> list[str]:
        """Those that have a stored response and are not known. Of a million, it takes a second."""
        with self._transaction():
            rows = self._cache._sql(SELECT_VERSIONS)
            return [version for (version,) in rows if not is_known(version)]

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

    def save_mark(self, mark: Mark) -> None:
        with self._transaction():
            save_mark(self._cache, mark)
        self._last_mark = max(self._last_mark, mark.number)

    def save_count(self, last: int) -> None:
        with self._transaction():
            save_counter(self._cache, last)
        self._last_mark = max(self._last_mark, last)

    def remove_mark(self, mark: Mark) -> None:
        with self._transaction():
            self._cache.delete(mark_name(mark.number))

    def settle(self, mark: Mark, keys: Iterable[ObjectKey]) -> int:
        """Delete the stored responses of those that the mark concerns, or make them stale."""
        settled = 0
        with self._transaction():
            for key in keys:
                text = self._cache.get(meta_name(key))
                meta = decode_meta(text, key) if text is not None else None
                if meta is None or not mark.concerns(meta):
                    continue  # it was asked for again meanwhile
                settled += 1
                if mark.soft:
                    stale = encode_meta(replace(meta, stale=True))
                    self._cache.set(meta_name(key), stale, tag=meta.version)
                else:
                    self._cache.delete(meta_name(key))
        return settled

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._check_open()
        self.check()
        try:
            with self._cache.transact():
                yield
        except UNREADABLE as error:
            with suppress(sqlite3.Error):
                self._cache.close()  # and with it a transaction that could not be rolled back
            self._inodes = None  # the last to close removes the log
            raise self._failed(error) from error
        self._inodes = self._inodes or self._files.found()

    def _check_open(self) -> None:
        """A lost one is not written to any more: what succeeded would seem to be the trouble's end.

        :raises StoreError: there is none, or it is lost.
        """
        if not self.usable:
            raise StoreError(
                "index: it is not open" if self._cache is None else "index: it is lost"
            )

    def _failed(self, error: Exception) -> StoreError:
        self._lost = self._lost or is_at_fault(error)
        return StoreError(f"index: {first_cause(error)}")

    def _read_by(self) -> Any:
        if self._reading is not (cache := self._cache):
            self.close_reader()
            self._reading = cache
        if self._shared.is_cut():
            raise StoreError("index: a part of it was cut off")
        return cache

    def step(self, mark: Mark, after: str) -> Step:
        """Called by the reading thread: see `mark_rows.step`."""
        if (cache := self._read_by()) is None:
            raise StoreError("the index is not open")
        try:
            return step(cache._sql, mark, after)
        except (sqlite3.Error, diskcache.Timeout) as error:
            raise StoreError(f"index: {first_cause(error)}") from error

    def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        """Called by the reading thread.

        :raises RowRefused: what is stored under that key has to go.
        """
        if (cache := self._read_by()) is None:
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


def first_cause(error: BaseException) -> BaseException:
    """diskcache's Timeout, or a failed ROLLBACK, hides what SQLite said first."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def is_at_fault(error: BaseException) -> bool:
    """Whether it is the index, and not the disk, that is no good."""
    code = getattr(first_cause(error), "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in NOT_THE_INDEX
