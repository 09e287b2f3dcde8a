"""Every slice of a cache folder, read and checked, beside a running server or without one.

Rules of this module: it changes nothing; what it holds in memory is bounded, whatever the folder
holds; and what a server writes, replaces or evicts meanwhile is not damage: of a file that is wrong
it is asked again whether it is still there.
"""

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgecache.core.errors import StoreError
from edgecache.core.model import ObjectKey, SliceKey
from edgecache.store.files import READING, TREE, SliceFiles, names, read_whole
from edgecache.store.row_lister import RowLister
from edgecache.store.slice_check import Checked, check, most_length

# A file without a row may be on its way into the index, and a row without a file on its way out of
# it: after so many seconds it is neither.
SETTLED = 2.0
SHARDS = [f"{number:02x}" for number in range(256)]
# Rows without a file that are looked at again together.
MOST_MISSING = 10_000
# What says nothing of the file.
NOT_THE_FILE = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Damage(NamedTuple):
    """`object` is None where nothing tells any more whose slice it was."""

    file: str
    slice: SliceKey
    object: ObjectKey | None
    why: str


class Read(NamedTuple):
    name: str
    length: int  # that was read
    found: Checked | None  # None: there is no such file any more


@dataclass(slots=True)
class Report:
    ok: int = 0
    damaged: int = 0
    orphans: int = 0  # files without a row: the server's next start removes them
    missing: int = 0  # rows without a file: misses
    others: int = 0  # files of another format or slice size, and what is no slice
    bytes: int = 0


class Verification:
    def __init__(self, directory: Path, *, slice_size: int, threads: int = 2) -> None:
        """:raises StoreError: there is no such folder, or its index can't be read."""
        if not directory.is_dir():
            raise StoreError(
                f"there is no cache folder {directory}",
                hint="cache.dir of the config names it: is it the server's config?",
            )
        self.report = Report()
        self._directory = directory
        self._slice_size = slice_size
        self._files = SliceFiles(directory, slice_size)
        self._tree = self._files.name(SliceKey("", 0)).partition("/")[0]
        self._threads = threads
        self._rows = RowLister(directory)
        self._missing: dict[str, float] = {}  # and since when

    def close(self) -> None:
        self._rows.close()

    def expected(self) -> tuple[int, int]:
        """(slices, bytes) that the index has, as `run` begins."""
        return self._rows.count()

    def run(
        self,
        on_damage: Callable[[Damage], None] = lambda _: None,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Report:
        """Blocking. `on_read` is told the length of each file.

        :raises StoreError: files or index can't be read, which says nothing of slices.
        """
        pool = ThreadPoolExecutor(self._threads, "edgecache-verify")
        try:
            # Of rows too that have lost their whole folder.
            for shard in sorted({*SHARDS, *names(self._directory / self._tree)}):
                self._verify_shard(pool, f"{self._tree}/{shard}/", on_damage, on_read)
            for name, since in self._missing.items():
                self._settle(name, since)
        finally:
            pool.shutdown(cancel_futures=True)
        self.report.others += sum(1 for _ in self._other_files())
        return self.report

    def _verify_shard(
        self,
        pool: ThreadPoolExecutor,
        prefix: str,
        on_damage: Callable[[Damage], None],
        on_read: Callable[[int], None],
    ) -> None:
        files = {f"{prefix}{name}" for name in names(self._directory / prefix)}
        slices = sorted(name for name in files if self._files.key(name) is not None)
        self.report.others += len(files) - len(slices)
        for read in self._read_all(pool, slices):
            on_read(read.length)
            self._judge(read, on_damage)
        # Only now: whatever was among the files has its row by now.
        rows = self._rows.names(prefix)
        for name in slices:
            self.report.orphans += name not in rows and self._is_orphan(name)
        now = time.monotonic()
        self._missing |= dict.fromkeys(filter(self._is_away, rows - files), now)
        while len(self._missing) > MOST_MISSING:
            name = next(iter(self._missing))
            self._settle(name, self._missing.pop(name))

    def _read_all(self, pool: ThreadPoolExecutor, slices: Iterable[str]) -> Iterator[Read]:
        """In order, a few at a time."""
        reading: deque[Future[Read]] = deque()
        for name in slices:
            reading.append(pool.submit(self._read, name))
            if len(reading) > 2 * self._threads:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()

    def _judge(self, read: Read, on_damage: Callable[[Damage], None]) -> None:
        if read.found is None:
            return
        self.report.bytes += read.length
        key = self._slice(read.name)
        why, meta = read.found
        if meta is None or meta.version != key.version:
            # Its version may have another era, which only the stored response tells. Without one
            # nothing leads to the slice, whosever it is.
            stored = self._rows.meta_of(key.version)
            if not why and meta and stored and not meta.names_same(stored):
                why = "its header names another object"
            meta = stored
        if not why:
            self.report.ok += 1
            return
        self.report.damaged += 1
        on_damage(Damage(read.name, key, meta.key if meta else None, why))

    def _read(self, name: str) -> Read:
        """In a thread. A file that is wrong counts only if its name still leads to it."""
        while True:
            try:
                descriptor = os.open(self._directory / name, READING)
            except OSError as error:
                return Read(name, 0, None if is_away(error) else unread(error))
            try:
                blob, found = self._checked(descriptor, self._slice(name).number)
                if not found.why or self._is_there(name, descriptor):
                    return Read(name, len(blob), found)
            finally:
                os.close(descriptor)

    def _checked(self, descriptor: int, number: int) -> tuple[bytes, Checked]:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return b"", Checked("it is not a file", None)
        if info.st_size > most_length(self._slice_size):
            return b"", Checked("it is too long", None)
        try:
            blob = read_whole(descriptor, info.st_size)
        except OSError as error:
            return b"", unread(error)
        return blob, check(blob, number, self._slice_size)

    def _is_there(self, name: str, descriptor: int) -> bool:
        with suppress(OSError):
            now = (self._directory / name).lstat()
            return os.path.samestat(now, os.fstat(descriptor))
        return False

    def _slice(self, name: str) -> SliceKey:
        key = self._files.key(name)
        assert key is not None  # noqa: S101  # only such names are looked at
        return key

    def _is_orphan(self, name: str) -> bool:
        with suppress(OSError):
            return time.time() - (self._directory / name).lstat().st_mtime > SETTLED
        return False

    def _is_away(self, name: str) -> bool:
        try:
            (self._directory / name).lstat()
        except OSError as error:
            return is_away(error)
        return False

    def _settle(self, name: str, since: float) -> None:
        """Counts a row that has no file, if it is not just on its way out."""
        time.sleep(max(0.0, since + SETTLED - time.monotonic()))
        self.report.missing += self._rows.has(name) and self._is_away(name)

    def _other_files(self) -> Iterator[str]:
        for tree in filter(TREE.fullmatch, names(self._directory)):
            if tree != self._tree:
                for shard in names(self._directory / tree):
                    yield from names(self._directory / tree / shard)


def is_away(error: OSError) -> bool:
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


def unread(error: OSError) -> Checked:
    """:raises StoreError: it says nothing of the file."""
    if error.errno in NOT_THE_FILE:
        raise StoreError(
            f"the slices cannot be read: {error.strerror}",
            hint="this needs the rights of the server's user",
        ) from error
    return Checked(f"it cannot be read: {error.strerror}", None)
