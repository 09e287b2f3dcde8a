"""The slices' files. Rule of this module: blocking calls only, files only; no index, no threads.

A file is written under another name and gets its own when it is whole. One thread writes and
unlinks; any may open. Links are not followed: what is in the place of a folder or file goes.

    v2-1048576/ab/   slices of one format and slice size, by the first digits of their version
    writing          the slice being written
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from edgecache.core.model import ObjectMeta, Removal, SliceKey
from edgecache.core.policy import Loaded
from edgecache.store.at_once import AtOnce, Later
from edgecache.store.slice_format import (
    FORMAT,
    PART,
    Buffer,
    checksums_of,
    encode_header,
    fits,
    header_length,
)
from edgecache.store.verified import Verified

BLOCK = 4096
# What a slice takes in the folder that lists it, beside its blocks.
ENTRY = 64
# Rows that are looked at with one call.
TOGETHER = 1000

TREE = re.compile(r"v[0-9]+-[0-9]+")
SLICE = r"([0-9a-f]{2})/(\1[0-9a-f]{30})-(0|[1-9][0-9]{0,8})"  # numbers that fit into 32 bits
NAME = re.compile(f"{TREE.pattern}/{SLICE}")
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# An open that fails for one of these says nothing of the file.
SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}


# Where there is no file of ours.
AWAY = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class WrongSlice(Exception):
    """The file of a slice is missing, or not read, or it is not that slice: `reason` tells which,
    its text how."""

    def __init__(self, why: str, reason: Removal = Removal.CORRUPT) -> None:
        super().__init__(why)
        self.reason = reason


class OpenedFile(NamedTuple):
    """The slice's file, whose first part was verified, and not the others, if there are any."""

    fd: int
    base: int  # where the data starts
    length: int  # of the data
    written: int  # when it was written to last, as the file system has it
    checksums: bytes = b""  # of all parts; none: they were all verified
    on_verified: Callable[[], None] | None = None  # to be called when they all are


def slice_cost(length: int) -> int:
    """The disk space that a file of that length takes."""
    return -(-length // BLOCK) * BLOCK + ENTRY


class SliceFiles:
    def __init__(self, directory: Path, slice_size: int) -> None:
        self.folders = 0
        self._directory = directory
        self._path = str(directory)  # joining Paths takes longer than opening what they name
        self._verified = Verified()
        self._at_once = AtOnce(READING)
        self._slice_size = slice_size
        self._tree = f"v{FORMAT}-{slice_size}"
        self._own = re.compile(f"{self._tree}/{SLICE}")
        self._all_own = re.compile(rf"(?:{self._tree}/{SLICE}\n)+")
        self._start = len(f"{self._tree}/ab/")  # of the version in a name
        self._writing = f"{self._path}/writing"

    def prepare(self) -> list[str]:
        """Make the folder of this slice size, and drop what others left: the half written file
        of a crash, and empty folders of another slice size. The folders that have files.
        """
        with suppress(FileNotFoundError):
            os.unlink(self._writing)
        self.folders, places = 0, []
        for tree in filter(TREE.fullmatch, names(self._directory)):
            make_way(self._directory / tree)
            shards = [f"{tree}/{shard}" for shard in names(self._directory / tree)]
            for shard in shards:
                make_way(self._directory / shard)
            if tree != self._tree:
                for folder in (*shards, tree):
                    with suppress(OSError):
                        (self._directory / folder).rmdir()
            self.folders += 1 + len(shards)
            places += shards
        (self._directory / self._tree).mkdir(mode=0o700, exist_ok=True)
        return places

    def name(self, key: SliceKey) -> str:
        """The file's path in the folder, and the key of its row."""
        return f"{self._tree}/{key.version[:2]}/{key.version}-{key.number}"

    def name_range(self, version: str) -> tuple[str, str]:
        """The names of the version's slices are from the first of these up to the second."""
        start = f"{self._tree}/{version[:2]}/{version}"
        return f"{start}-", f"{start}."  # the character after "-"

    def key(self, name: str) -> SliceKey | None:
        """The slice that has that name, or None: it is not the name of one."""
        if not self._own.fullmatch(name):
            return None
        version, _, number = name[self._start :].partition("-")
        return SliceKey(version, int(number))

    def slices(
        self, rows: Iterable[tuple[str, int, int, float]], others: list[str]
    ) -> Iterator[Loaded]:
        """Of names with the lengths of their files, counts and priorities: the slices; `others`
        gets the names of none. A million of them before anything is served: so they are looked at
        together, with few calls but into C, and none of them is kept here."""
        start, stop, rows = self._start, self._start + 32, iter(rows)
        while some := list(islice(rows, TOGETHER)):
            if not self._are_own(some):
                others += [row[0] for row in some if not self._own.fullmatch(row[0])]
                some = [row for row in some if self._own.fullmatch(row[0])]
            digits = "".join([f"{row[0][start:stop]}{int(row[0][stop + 1 :]):08x}" for row in some])
            packed = bytes.fromhex(digits)
            for at, (_, length, count, priority) in zip(
                range(0, len(packed), 20), some, strict=True
            ):
                cost = -(-length // BLOCK) * BLOCK + ENTRY
                yield packed[at : at + 20], cost, count, priority

    def _are_own(self, rows: list[tuple[str, int, int, float]]) -> bool:
        """Whether all names are those of slices."""
        lines = "\n".join([*(row[0] for row in rows), ""])
        return lines.count("\n") == len(rows) and bool(self._all_own.fullmatch(lines))

    def length(self, meta: ObjectMeta, data: Buffer) -> int:
        """How long the file of a slice with that data is."""
        return header_length(meta, len(data)) + len(data)

    def write(self, key: SliceKey, meta: ObjectMeta, data: Buffer) -> int:
        """The file of `key`, whole or not at all; its length."""
        parts = [encode_header(meta, key.number, self._slice_size, data), data]
        length = sum(map(len, parts))
        try:
            self._write(parts)
            self._give_name(f"{self._path}/{self.name(key)}")
        except OSError:
            with suppress(OSError):
                os.unlink(self._writing)
            raise
        return length

    def _write(self, parts: Iterable[Buffer]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._writing, flags, 0o600)
        try:
            write_all(fd, parts)
        finally:
            os.close(fd)

    def _give_name(self, path: str) -> None:
        if not has_place(path):
            shard = Path(path).parent
            for folder in (shard.parent, shard):
                make_way(folder)
            shard.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folders += 1
        os.rename(self._writing, path)

    def unlink(self, names: Iterable[str]) -> None:
        """Only what has the name of a slice: names may come out of the index."""
        for name in filter(NAME.fullmatch, names):
            path = f"{self._path}/{name}"
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                if has_place(path):
                    os.unlink(path)

    def open(self, key: SliceKey, meta: ObjectMeta) -> OpenedFile:
        """The file, verified as far as an `OpenedFile` is.

        :raises WrongSlice: it has to go.
        :raises OSError: a shortage of descriptors or memory; the file may be right.
        """
        try:
            fd = os.open(f"{self._path}/{self.name(key)}", READING)
            try:
                return self._verify(fd, key, meta, read_whole)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            if error.errno in SHORTAGE:
                raise
            reason = Removal.MISSING if error.errno in AWAY else Removal.UNREAD
            raise WrongSlice(error.strerror or "read error", reason) from error

    def open_at_once(self, key: SliceKey, meta: ObjectMeta) -> OpenedFile | None:
        """As `open`, if the kernel has in memory what that reads; None: `open` it. For the event
        loop only.

        :raises WrongSlice: it has to go.
        """
        try:
            fd = self._at_once.open(f"{self._path}/{self.name(key)}")
        except Later:
            return None
        try:
            return self._verify(fd, key, meta, self._at_once.read)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, Later):
                return None
            raise

    def _verify(
        self, fd: int, key: SliceKey, meta: ObjectMeta, read: Callable[[int, int], Buffer]
    ) -> OpenedFile:
        """`read` gives the first so many bytes."""
        number, size = key.number, self._slice_size
        length = min(size, meta.length - number * size)
        base, first = header_length(meta, length), min(length, PART)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != base + length:
            raise WrongSlice("length")
        on_verified = self._verified.adding(key, found)
        head = memoryview(read(fd, base + first))
        checksums = checksums_of(head, meta, number, size, length)
        if checksums is None or not fits(head[base:], checksums, 0):
            raise WrongSlice("content")
        if first < length:
            return OpenedFile(fd, base, length, found.st_mtime_ns, checksums, on_verified)
        if on_verified is not None:
            on_verified()
        return OpenedFile(fd, base, length, found.st_mtime_ns)

    def reopen(self, key: SliceKey, meta: ObjectMeta) -> OpenedFile | None:
        """The file, unread, if it is the very one that was verified to its end; else None: `open`
        it.

        For the event loop only: without waiting for the disk. Where the kernel can't promise that,
        the file is opened all the same: where it is, it has in memory most likely, and to verify
        again what is opened again would take a read of all of it each time.
        """
        if key not in self._verified:
            return None
        path = f"{self._path}/{self.name(key)}"
        try:
            fd = self._at_once.open(path) if self._at_once.opens else os.open(path, READING)
        except (Later, OSError):
            return None
        found = os.fstat(fd)
        if not self._verified.is_same(key, found):
            os.close(fd)
            return None
        length = min(self._slice_size, meta.length - key.number * self._slice_size)
        return OpenedFile(fd, header_length(meta, length), length, found.st_mtime_ns)

    def all(self, place: str) -> list[str]:
        """The names of all files there, one of the folders that `prepare` gives."""
        return [f"{place}/{name}" for name in names(self._directory / place)]

    def costs(self, found: Iterable[str]) -> dict[str, int]:
        """What those of them take that have the name of a slice."""
        costs = {}
        for name in filter(NAME.fullmatch, found):
            with suppress(FileNotFoundError):
                costs[name] = slice_cost((self._directory / name).lstat().st_size)
        return costs

    def probe(self) -> None:
        """:raises OSError: a file could not be written."""
        self._write([b"probe"])
        os.unlink(self._writing)


def read_whole(descriptor: int, length: int) -> bytes:
    """Up to `length` bytes: a file may end early. What can't be read of it fails only once all
    that is before it was given."""
    pieces = []
    at = 0
    while at < length and (piece := os.pread(descriptor, length - at, at)):
        pieces.append(piece)
        at += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def names(folder: Path) -> list[str]:
    """What is in a folder, nothing if it is none. As a hundred thousand Paths it took a second."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_folder(path: str | Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def has_place(path: str) -> bool:
    """Whether the folders that a slice's file is in are folders."""
    shard, _, _ = path.rpartition("/")
    tree, _, _ = shard.rpartition("/")
    return is_folder(shard) and is_folder(tree)


def make_way(folder: Path) -> None:
    """Remove what is in the place of a folder, if it is none."""
    if not is_folder(folder):
        folder.unlink(missing_ok=True)


def write_all(fd: int, parts: Iterable[Buffer]) -> None:
    """A full disk shows as a short write first: only the next one fails."""
    views = [memoryview(part) for part in parts]
    while views:
        written = os.writev(fd, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]
