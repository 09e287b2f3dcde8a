"""diskcache's serialisation, cut down to what is stored here: text inline, slices as files.

Rule of this module: nothing is pickled, and nothing pickled is read, neither key nor value
(CVE-2025-69872). A slice's file has the name that is its row's key, so that no file name is ever
taken from the database: a row cannot lead out of the folder.
"""

from typing import NamedTuple

import diskcache

MODE_TEXT: int = diskcache.core.MODE_RAW  # inline
MODE_FILE: int = diskcache.core.MODE_BINARY


class SliceFile(NamedTuple):
    """A value that is on disk already, under the name that is its key."""

    size: int


class RowRefused(Exception):
    """A row that this program did not write."""


class SliceDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache is untyped
    def put(self, key: object) -> tuple[str, bool]:
        if type(key) is not str:
            raise RowRefused(f"a key of {type(key)}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if not raw or type(key) is not str:
            raise RowRefused("a key that is not text")
        return key

    def store(
        self, value: object, read: bool, key: object = None
    ) -> tuple[int, int, str | None, str | None]:
        """The columns size, mode, filename and value."""
        match value:
            case str():
                return 0, MODE_TEXT, None, value
            case SliceFile(size):
                return size, MODE_FILE, self.put(key)[0], None
            case _:
                raise RowRefused(f"a value of {type(value)}")

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> str:
        if mode != MODE_TEXT or type(value) is not str:
            raise RowRefused("a value that is not text")
        return value

    def remove(self, file_path: str) -> None:
        """Nothing: the file that a replaced row names is the one that was just written."""
