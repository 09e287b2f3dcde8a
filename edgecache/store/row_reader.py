"""The index as another process reads it while the keeper writes. Rule: SELECTs only, in one thread;
whatever fails is "not known", and the keeper is asked instead."""

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.files import SliceFiles
from edgecache.store.index import DATABASE, meta_name
from edgecache.store.meta_format import decode_meta
from edgecache.store.rows import MODE_FILE, MODE_TEXT

log = logging.getLogger("edgecache.store")

# Seconds to wait for a lock. Short: the keeper can be asked, and others wait for this thread.
PATIENCE = 0.1

SELECT_META = f"SELECT value FROM Cache WHERE key = ? AND raw = 1 AND mode = {MODE_TEXT}"  # noqa: S608
SELECT_SLICES = f"SELECT key FROM Cache WHERE key >= ? AND key < ? AND mode = {MODE_FILE}"  # noqa: S608


class RowReader:
    """Blocking. It follows the keeper to another database file if that one was set aside."""

    def __init__(self, directory: Path, files: SliceFiles) -> None:
        self._database = directory / DATABASE[0]
        self._files = files
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def load_meta(self, key: ObjectKey) -> ObjectMeta | None:
        rows = self._select(SELECT_META, meta_name(key))
        return decode_meta(rows[0], key) if rows and isinstance(rows[0], str) else None

    def slices(self, version: str) -> set[int]:
        """The numbers of the slices that are there."""
        first, last = self._files.name_range(version)
        keys = map(self._files.key, self._select(SELECT_SLICES, first, last))
        return {key.number for key in keys if key is not None and key.version == version}

    def _select(self, statement: str, *values: str) -> list[str]:
        try:
            return [row[0] for row in self._connected().execute(statement, values)]
        except (sqlite3.Error, OSError) as error:
            log.debug("index not read error=%s", error)
            self.close()
            return []

    def _connected(self) -> sqlite3.Connection:
        inode = self._database.stat().st_ino
        if self._connection is None or inode != self._inode:
            self.close()
            uri = f"{self._database.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=PATIENCE, isolation_level=None
            )
            self._connection.execute("PRAGMA query_only = 1")
            self._inode = inode
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
