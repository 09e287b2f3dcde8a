"""The index as another process reads it while the keeper writes. Rule: SELECTs only, in one thread;
whatever fails is "not known", and the keeper is asked instead."""

import errno
import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgecache.core.marks import judged
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.files import SliceFiles
from edgecache.store.index_files import DATABASE, SharedMemory, inode
from edgecache.store.index_rows import meta_name
from edgecache.store.mark_format import FIRST, LAST, decode_marks
from edgecache.store.meta_format import decode_meta
from edgecache.store.rows import MODE_FILE, MODE_TEXT

log = logging.getLogger("edgecache.store")

# Seconds to wait for a lock. Short: the keeper can be asked, and others wait for this thread.
PATIENCE = 0.1

# One statement sees the row and the purges that are in force at one moment.
SELECT_META = (
    f"SELECT key, value FROM Cache WHERE key = ? AND raw = 1 AND mode = {MODE_TEXT} "  # noqa: S608
    f"UNION ALL SELECT key, value FROM Cache WHERE key > '{FIRST}' AND key < '{LAST}' AND raw = 1"
)
SELECT_SLICES = f"SELECT key FROM Cache WHERE key >= ? AND key < ? AND mode = {MODE_FILE}"  # noqa: S608


class RowReader:
    """Blocking. It follows the keeper to another database file if that one was set aside."""

    def __init__(self, directory: Path, files: SliceFiles) -> None:
        self._database = directory / DATABASE[0]
        self._files = files
        self._shared = SharedMemory(directory)
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)

    def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        name = meta_name(key)
        rows = self._select(SELECT_META, name)
        if not rows or rows[0][0] != name or not isinstance(rows[0][1], str):
            return None
        meta = decode_meta(rows[0][1], key)
        if meta is None or len(rows) == 1:
            return meta
        try:
            return judged(meta, decode_marks((mark, text) for mark, text in rows[1:]))
        except ValueError:
            return None

    def slices(self, version: str) -> set[int]:
        """The numbers of the slices that are there."""
        first, last = self._files.name_range(version)
        keys = map(self._files.key, [name for (name,) in self._select(SELECT_SLICES, first, last)])
        return {key.number for key in keys if key is not None and key.version == version}

    def _select(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._connected().execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            log.debug("index not read error=%s", error)
            self.close()
            return []

    def _connected(self) -> sqlite3.Connection:
        found = inode(self._database)
        if self._connection is None or found != self._inode:
            self.close()
            if self._database.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            uri = f"{self._database.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=PATIENCE, isolation_level=None
            )
            self._connection.execute("PRAGMA query_only = 1")
            self._inode = found
        if self._shared.is_cut():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))  # the keeper mends it
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
