"""The cache folder: lock, files and index together. Blocking; the store has the threads.

Rules of this module: file first, row last; what goes loses its file first. So a crash leaves files
without a row, or rows without a file: `attach` finds both. Whatever fails leaves as a StoreError
that names neither path nor key.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.store.files import BLOCK, SliceFiles, slice_cost
from edgecache.store.index import SliceIndex
from edgecache.store.slice_format import Buffer

# Kept free on the disk, beside what the index's log may grow by: without it SQLite could not
# even delete, nor start.
HEADROOM = 2 * 2**20


class FolderInUse(StoreError):
    """Another process has the folder."""


def check_unused(directory: Path) -> None:
    """:raises FolderInUse: a server has it."""
    try:
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # it is not there yet; what else there is, the store finds out
        return
    try:
        take_lock(lock, directory)
    finally:
        os.close(lock)


def take_lock(lock: int, directory: Path) -> None:
    """Held until the descriptor is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUse(
            "the cache folder is in use by another server",
            hint=f"{directory} is locked: stop that server, or change cache.dir here",
        ) from error


class Contents(NamedTuple):
    """What the folder held: slices and what they take, oldest first."""

    slices: list[tuple[SliceKey, int]]
    versions: list[str]  # that have a stored response
    leftovers: dict[str, int]  # names of files without a row, with sizes; of rows without a file
    refused: int  # rows that this program did not write


class SliceFolder:
    def __init__(self, directory: Path, *, limit: int, slice_size: int) -> None:
        self.footprint = 0  # bytes of all but slices, after the last change
        self.growth = 0  # what that may yet grow by without a slice more
        self.files = SliceFiles(directory, slice_size)
        self.index = SliceIndex(directory, limit)
        self._directory = directory
        self._lock = -1

    def attach(self) -> Contents:
        """Open it, or make it.

        :raises FolderInUse: another process has it.
        """
        with self._changing():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self.files.prepare()
            rows = self.index.open()
            unclaimed = self.files.all()
            slices, leftovers = [], {}
            versions: dict[str, str] = {}  # one string a version, not one a slice
            for name, length in rows.slices:
                key = self.files.key(name, versions) if name in unclaimed else None
                if key is None:
                    leftovers[name] = 0
                    continue
                unclaimed.discard(name)
                slices.append((key, slice_cost(length)))
            leftovers |= self.files.costs(unclaimed)
            return Contents(slices, rows.versions, leftovers, rows.refused)

    @property
    def usable(self) -> bool:
        return self.index.usable

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            take_lock(lock, self._directory)
        except (OSError, FolderInUse):
            os.close(lock)
            raise
        self._lock = lock

    def close(self) -> None:
        self.index.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def write(self, gone: Collection[str], key: SliceKey, meta: ObjectMeta, data: Buffer) -> None:
        """Remove the files that are `gone`, then make `key` a slice."""
        name = self.files.name(key)
        with self._changing():
            self.files.unlink(gone)
            try:
                self._check_space(len(data))
                length = self.files.write(key, meta, data)
            except OSError:
                with suppress(StoreError):
                    self.index.remove(gone)
                raise
            try:
                self.index.add(name, length, gone=gone)
            except StoreError:
                self.files.unlink([name])
                raise

    def remove(self, names: Iterable[str], is_slice: Callable[[str], bool]) -> None:
        """Remove those that are not slices again by now."""
        gone = [name for name in names if not is_slice(name)]
        with self._changing():
            self.files.unlink(gone)
            self.index.remove(gone)

    def probe(self) -> None:
        """:raises StoreError: the folder cannot be written to."""
        with self._changing():
            self._check_space()
            self.files.probe()
            self.index.probe()

    def save_meta(self, meta: ObjectMeta) -> bool:
        with self._changing():
            self._check_space()
            return self.index.save_meta(meta)

    def remove_meta(self, key: ObjectKey) -> None:
        with self._changing():
            self.index.remove_meta(key)

    def forget(self, versions: Iterable[str]) -> None:
        with self._changing():
            self.index.forget(versions)

    def forget_all(self) -> None:
        with self._changing():
            self.index.forget_all()

    def _check_space(self, length: int = 0) -> None:
        disk = os.statvfs(self._directory)
        if disk.f_bavail * disk.f_frsize < length + self.growth + HEADROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(error.strerror or str(error)) from error
        finally:
            used, self.growth = self.index.measure()
            self.footprint = used + (2 + self.files.folders) * BLOCK
