"""The files of the index, as files. Rule of this module: what is in their place and no file of ours
goes out of the way, whatever it is; links are not followed.

    cache.db*        the index
    broken-1, -2     the index that could not be read last, and the one before it
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edgecache.store.files import is_folder

PAGE = 4096
DATABASE = ("cache.db", "cache.db-wal", "cache.db-shm")
BROKEN = ("broken-1", "broken-2")

# The index's files, by device and number.
Inodes = tuple[tuple[int, int], ...]


class IndexFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths = tuple(directory / name for name in DATABASE)

    def are_blocked(self) -> bool:
        """Whether something is in their place that is no file, or none of ours."""
        return any(
            not stat.S_ISREG(path.lstat().st_mode) or not os.access(path, os.W_OK)
            for path in self._paths
            if os.path.lexists(path)
        )

    def found(self) -> Inodes | None:
        """The files that are there; None: not all are."""
        try:
            return tuple(map(inode, self._paths))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def set_aside(self) -> None:
        there = [path for path in self._paths if os.path.lexists(path)]
        if there:
            newest, oldest = (self._directory / name for name in BROKEN)
            remove(oldest)
            if is_folder(newest):
                newest.rename(oldest)
            remove(newest)
            newest.mkdir(mode=0o700)
        for path in there:
            path.rename(self._directory / BROKEN[0] / path.name)

    def sizes(self) -> tuple[int, ...]:
        """Bytes on disk of each."""
        return tuple(map(size, self._paths))

    def aside(self) -> int:
        """Bytes of those that were set aside."""
        return sum(size(file) for name in BROKEN for file in files(self._directory / name))


class SharedMemory:
    """The `-shm` file, which processes have in their memory: to look at a part of it that was cut
    off ends a process, with SIGBUS. So it is looked at before. What SQLite has in there it makes
    anew from the log, if it finds nothing."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / DATABASE[2]
        self._inode = (0, 0)
        self._length = 0

    def is_cut(self) -> bool:
        """Shorter than it was before. Any thread may ask."""
        try:
            found = self._path.lstat()
        except OSError:
            return False  # what is in memory stays without a name
        if (place := (found.st_dev, found.st_ino)) != self._inode:
            self._inode, self._length = place, 0
        self._length = max(found.st_size, self._length)
        return found.st_size < self._length

    def mend(self) -> None:
        """Nothing but zeros: half of it would be believed. By name, as whoever opens and closes the
        file in this process ends SQLite's locks on it."""
        if self.is_cut():
            for length in (0, self._length):
                os.truncate(self._path, length)


def files(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from folder.iterdir()


def size(file: Path) -> int:
    try:
        return -(-file.stat().st_size // PAGE) * PAGE
    except OSError:
        return 0


def inode(file: Path) -> tuple[int, int]:
    found = file.lstat()
    return found.st_dev, found.st_ino


def remove(path: Path) -> None:
    """Whatever it is; a link, not what it leads to."""
    if is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
