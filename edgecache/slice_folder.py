"""The cache folder: lock, files and index together. Blocking; the store has the threads.

Rules of this module: file first, row last; what goes loses its file first. So a crash leaves files
without a row, which the survey finds, or rows without a file, which are a miss. Whatever fails
leaves as a StoreError that names neither path nor key.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.slice_files import BLOCK, SliceFiles
from edgecache.slice_format import Buffer
from edgecache.slice_index import Rows, SliceIndex


class FolderInUse(StoreError):
    """Another process has the folder."""


class SliceFolder:
    def __init__(self, directory: Path, *, limit: int, slice_size: int) -> None:
        self.footprint = 0  # bytes of all but slices, after the last change
        self.files = SliceFiles(directory, slice_size)
        self.index = SliceIndex(directory, limit)
        self._directory = directory
        self._lock = -1

    def attach(self) -> Rows:
        """Open it, or make it.

        :raises FolderInUse: another process has it.
        """
        with self._changing():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self.files.prepare()
            return self.index.open(self.files.key)

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise FolderInUse(
                "the cache folder is in use by another server",
                hint=f"{self._directory} is locked: stop that server, or change cache.dir here",
            ) from error
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def close(self) -> None:
        self.index.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def write(
        self, gone: Iterable[SliceKey], key: SliceKey, meta: ObjectMeta, data: Buffer
    ) -> None:
        """Remove what is `gone`, then make `key` a slice."""
        gone = [self.files.name(victim) for victim in gone]
        name = self.files.name(key)
        with self._changing():
            self.files.unlink(gone)
            try:
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

    def remove(self, gone: Iterable[SliceKey]) -> None:
        self.remove_names([self.files.name(key) for key in gone])

    def remove_names(self, names: list[str]) -> None:
        with self._changing():
            self.files.unlink(names)
            self.index.remove(names)

    def save_meta(self, meta: ObjectMeta) -> bool:
        with self._changing():
            return self.index.save_meta(meta)

    def remove_meta(self, key: ObjectKey) -> None:
        with self._changing():
            self.index.remove_meta(key)

    def forget(self, versions: Iterable[str]) -> None:
        with self._changing():
            self.index.forget(versions)

    def survey(self, known: Callable[[SliceKey], bool]) -> dict[str, int]:
        with self._changing():
            return self.files.survey(known)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(error.strerror or str(error)) from error
        finally:
            with suppress(OSError):
                self.footprint = self.index.footprint() + (1 + self.files.folders) * BLOCK
