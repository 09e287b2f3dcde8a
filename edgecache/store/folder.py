"""The cache folder: lock, files and index together. Blocking; the store has the threads.

Rules of this module: file first, row last; what goes loses its file first. So a crash leaves rows
without a file, which are a miss when they are asked for, and files without a row, which `strays`
finds; `attach` believes the rows, for to look at a million files takes seconds. Nothing is changed
in a folder whose lock is not the one that is held: it was removed, or replaced, and may be another
server's. Whatever fails leaves as a StoreError that names neither path nor key.
"""

import errno
import fcntl
import logging
import os
import re
import stat
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from edgecache.core.errors import StoreError
from edgecache.core.marks import Mark
from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.core.policy import Loaded
from edgecache.store.files import BLOCK, SliceFiles, names
from edgecache.store.index import SliceIndex, Use
from edgecache.store.index_files import inode
from edgecache.store.index_rows import Found, Rows, Take
from edgecache.store.packed_rows import MANY, NotRead, packed_slices
from edgecache.store.slice_format import Buffer

log = logging.getLogger("edgecache.store")

# Kept free on the disk, beside what the index's log may grow by: without it SQLite could not
# even delete, nor start.
HEADROOM = 2 * 2**20
# Kept free of slices for what SQLite writes for one change of 16 rows.
CHANGE = 384 * 2**10
LOCK = "lock"
# What a folder that is a cache's and nothing else's holds.
OURS = re.compile(r"lock|writing|cache\.db.*|broken-[12]|v[0-9]+-[0-9]+|lost\+found")


class FolderInUse(StoreError):
    """Another process has the folder."""


def check_unused(directory: Path) -> None:
    """:raises FolderInUse: a server has it."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # it is not there yet; what else there is, the store finds out
        return
    try:
        with suppress(OSError):
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


class NoRoom(StoreError):
    """A change would take what is to stay free of the file system. Nothing is wrong."""


# Takes slices, oldest first, the age of the policy and the pinned versions; how many they were.
Load = Callable[[Iterable[Loaded], float, Container[str]], int]


def count_slices(slices: Iterable[Loaded], _age: float, _pinned: Container[str]) -> int:
    """For who does not want them."""
    return sum(1 for _ in slices)


class Contents(NamedTuple):
    """What the folder held beside what was loaded."""

    slices: int
    others: list[str]  # names of rows that are no slices of this format and slice size
    places: list[str]  # folders of slices, in which there may be `strays`
    refused: int  # rows that this program did not write
    marks: tuple[Mark, ...] = ()
    last_mark: int = 0


class SliceFolder:
    def __init__(
        self,
        directory: Path,
        *,
        limit: int,
        slice_size: int,
        min_free: int = 0,
        policy: str = "lfuda",
        pins: Callable[[], Iterable[ObjectKey]] = tuple,
    ) -> None:
        """`min_free`: bytes of the file system that no change may take; `pins`: beginnings of the
        keys whose slices are pinned."""
        self.footprint = 0  # bytes of all but slices, after the last change
        self.growth = 0  # what that may yet grow by without a slice more
        self.files = SliceFiles(directory, slice_size)
        self.index = SliceIndex(directory, limit, policy)
        self.batch = self.index.batch  # files that are removed in one transaction
        self.change = CHANGE * self.batch // 16  # what SQLite may write for one change
        self._min_free = min_free
        self._pins = pins
        self._directory, self._slice_size = directory, slice_size
        self._lock_path = directory / LOCK
        self._lock = -1
        self._replaced = False  # under us, since it was attached

    @property
    def losses(self) -> int:
        """How many indexes were lost with what they held."""
        return self.index.losses

    def attach(self, load: Load = count_slices) -> Contents:
        """Open it, or make it. `load` is given its slices; once more, if they are others.

        :raises FolderInUse: another process has it.
        """
        with suppress(StoreError):
            self._check_lock()
        with self._measuring():
            self._make()
            self._take_lock()
            places = self.files.prepare()
            others: list[str] = []

            def take(found: Found) -> int:
                others.clear()
                if found.total >= MANY:
                    try:
                        packed = packed_slices(self._directory, self._slice_size)
                        return load(packed, found.age, found.pinned)
                    except NotRead as error:
                        log.info("index not read by another process error=%s", error)
                slices = self.files.slices(found.rows, others)
                return load(slices, found.age, found.pinned) + len(others)

            rows = self._open_index(take)
            slices = rows.slices - len(others)
            return Contents(slices, others, places, rows.refused, rows.marks, rows.last_mark)

    def strays(self, place: str, is_slice: Callable[[str], bool]) -> dict[str, int]:
        """The files there that are no slices, with what they take."""
        with self._changing():
            return self.files.costs(name for name in self.files.all(place) if not is_slice(name))

    def _make(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise StoreError("cache.dir is no folder") from error
        mode = stat.S_IMODE(self._directory.stat().st_mode)
        if mode & 0o077 == 0:
            return
        if all(map(OURS.fullmatch, names(self._directory))):  # else it is somebody's, or /tmp
            with suppress(OSError):
                self._directory.chmod(0o700)
                return
        log.warning("cache.dir is open to others, and stays so mode=%o", mode)

    def _open_index(self, take: Take) -> Rows:
        with self._saying_why():
            rows = self.index.open(take, self._pins())
        if self._replaced:
            # Its slices are as good as any. But what it says of objects may be of another time: a
            # purge would not be in it.
            self.index.forget_all()
        self._replaced = False
        return rows

    def _check_lock(self) -> None:
        if self._lock < 0:
            raise StoreError("cache.dir is not open")
        held = os.fstat(self._lock)
        try:
            if inode(self._lock_path) == (held.st_dev, held.st_ino):
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        self.close()
        self.index.losses += 1
        self._replaced = True
        raise StoreError("cache.dir was removed or replaced")

    def look(self) -> None:
        """What can be found out without a write.

        :raises StoreError: the folder is not what it was, or can't be written to.
        """
        with self._changing():
            self._check_space()
            self.index.look()

    @property
    def usable(self) -> bool:
        return self.index.usable

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self._lock_path, flags, 0o600)
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
            except (OSError, NoRoom):
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
            with suppress(NoRoom):
                self._check_space()
            self.files.probe()
            self.index.probe()

    def remember(self, uses: Iterable[Use], age: float) -> None:
        with self._changing():
            self.index.remember(uses, age)

    def free(self) -> tuple[int, int] | None:
        """Bytes of the file system that anybody may take, and `footprint` at that moment; None: it
        does not say."""
        try:
            disk = os.statvfs(self._directory)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize, self.footprint

    def save_meta(self, meta: ObjectMeta) -> bool:
        with self._changing():
            self._check_space()
            return self.index.save_meta(meta)

    def remove_meta(self, key: ObjectKey) -> None:
        with self._changing():
            self.index.remove_meta(key)

    def other_versions(self, is_known: Callable[[str], bool]) -> list[str]:
        """Those that have a stored response and are not known."""
        with self._changing():
            return self.index.other_versions(is_known)

    def save_mark(self, mark: Mark) -> None:
        with self._changing():
            self.index.save_mark(mark)

    def save_count(self, last: int) -> None:
        with self._changing():
            self.index.save_count(last)

    def remove_mark(self, mark: Mark) -> None:
        with self._changing():
            self.index.remove_mark(mark)

    def settle(self, mark: Mark, keys: Iterable[ObjectKey]) -> int:
        with self._changing():
            return self.index.settle(mark, keys)

    def forget(self, versions: Iterable[str]) -> None:
        with self._changing():
            self.index.forget(versions)

    def forget_all(self) -> None:
        with self._changing():
            self.index.forget_all()

    def _check_space(self, length: int = 0) -> None:
        disk = os.statvfs(self._directory)
        if disk.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        no_files = disk.f_files > 0 and disk.f_favail == 0
        left = disk.f_bavail * disk.f_frsize - length - self.growth
        if no_files or left < HEADROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if left < self._min_free:
            raise NoRoom("cache.min_free is reached")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._measuring():
            self._check_lock()
            with self._saying_why():
                yield

    @contextmanager
    def _saying_why(self) -> Iterator[None]:
        """Where SQLite says an I/O error, or there is no index any more, the disk says more."""
        try:
            yield
        except NoRoom:
            raise
        except StoreError:
            with suppress(NoRoom):
                self._check_space()
            self.files.probe()
            raise

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(error.strerror or str(error)) from error
        finally:
            used, self.growth = self.index.measure()
            self.footprint = used + (2 + self.files.folders) * BLOCK
