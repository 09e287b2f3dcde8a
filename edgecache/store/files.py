"""The slices' files. Rule of this module: blocking calls only, files only; no index, no threads.

A file is written under another name and gets its own when it is whole. One thread writes and
unlinks; any may open.

    v1-1048576/ab/   slices of one format and slice size, by the first digits of their version
    writing          the slice being written
"""

import errno
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edgecache.core.model import ObjectMeta, SliceKey
from edgecache.store.slice_format import FORMAT, Buffer, encode_header, header_length, verify

BLOCK = 4096
# What a slice takes in the folder that lists it, beside its blocks.
ENTRY = 64

NAME = re.compile(r"(v[0-9]+-[0-9]+)/([0-9a-f]{2})/(\2[0-9a-f]{30})-(0|[1-9][0-9]{0,9})")
TREE = re.compile(r"v[0-9]+-[0-9]+")
# An open that fails for one of these says nothing of the file.
SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}


class WrongSlice(Exception):
    """The file of a slice is missing, or it is not that slice."""


class OpenedFile(NamedTuple):
    fd: int
    base: int  # where the data starts
    length: int  # of the data


def slice_cost(length: int) -> int:
    """The disk space that a file of that length takes."""
    return -(-length // BLOCK) * BLOCK + ENTRY


class SliceFiles:
    def __init__(self, directory: Path, slice_size: int) -> None:
        self.folders = 0
        self._directory = directory
        self._slice_size = slice_size
        self._tree = f"v{FORMAT}-{slice_size}"
        self._writing = directory / "writing"

    def prepare(self) -> None:
        """Make the folder of this slice size, and drop what others left: the half written file
        of a crash, and empty folders of another slice size.
        """
        self._writing.unlink(missing_ok=True)
        (self._directory / self._tree).mkdir(mode=0o700, exist_ok=True)
        self.folders = 0
        for tree in filter(TREE.fullmatch, names(self._directory)):
            shards = [self._directory / tree / shard for shard in names(self._directory / tree)]
            if tree != self._tree:
                for folder in (*shards, self._directory / tree):
                    with suppress(OSError):
                        folder.rmdir()
            self.folders += 1 + len(shards)

    def name(self, key: SliceKey) -> str:
        """The file's path in the folder, and the key of its row."""
        return f"{self._tree}/{key.version[:2]}/{key.version}-{key.number}"

    def name_range(self, version: str) -> tuple[str, str]:
        """The names of the version's slices are from the first of these up to the second."""
        start = f"{self._tree}/{version[:2]}/{version}"
        return f"{start}-", f"{start}."  # the character after "-"

    def key(self, name: str, versions: dict[str, str] | None = None) -> SliceKey | None:
        """The slice that has that name, or None: it is not the name of one.

        `versions` gives the string to use for a version, and takes in what it has not.
        """
        found = NAME.fullmatch(name)
        if found is None:
            return None
        tree, version, number = found.group(1, 3, 4)
        if tree != self._tree:
            return None
        if versions is not None:
            version = versions.setdefault(version, version)
        return SliceKey(version, int(number))

    def length(self, meta: ObjectMeta, data: Buffer) -> int:
        """How long the file of a slice with that data is."""
        return header_length(meta) + len(data)

    def write(self, key: SliceKey, meta: ObjectMeta, data: Buffer) -> int:
        """The file of `key`, whole or not at all; its length."""
        parts = [encode_header(meta, key.number, self._slice_size, data), data]
        length = sum(map(len, parts))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self._writing, flags, 0o600)
            try:
                write_all(fd, parts)
            finally:
                os.close(fd)
            self._give_name(self._directory / self.name(key))
        except OSError:
            with suppress(OSError):
                self._writing.unlink()
            raise
        return length

    def _give_name(self, path: Path) -> None:
        try:
            self._writing.rename(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folders += 1
            self._writing.rename(path)

    def unlink(self, names: Iterable[str]) -> None:
        """Only what has the name of a slice: names may come out of the index."""
        for name in filter(NAME.fullmatch, names):
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                (self._directory / name).unlink()

    def open(self, key: SliceKey, meta: ObjectMeta) -> OpenedFile:
        """The file, verified.

        :raises WrongSlice: it has to go.
        :raises OSError: a shortage of descriptors or memory; the file may be right.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._directory / self.name(key), flags)
            try:
                length = self._verify(fd, key, meta)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            if error.errno in SHORTAGE:
                raise
            raise WrongSlice(error.strerror) from error
        return OpenedFile(fd, header_length(meta), length)

    def _verify(self, fd: int, key: SliceKey, meta: ObjectMeta) -> int:
        base = header_length(meta)
        length = min(self._slice_size, meta.length - key.number * self._slice_size)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != base + length:
            raise WrongSlice("length")
        if not verify(os.pread(fd, found.st_size, 0), meta, key.number, self._slice_size):
            raise WrongSlice("content")
        return length

    def all(self) -> set[str]:
        """The names of all files in the places of slices, of other slice sizes too."""
        return {
            f"{tree}/{shard}/{name}"
            for tree in filter(TREE.fullmatch, names(self._directory))
            for shard in names(self._directory / tree)
            for name in names(self._directory / tree / shard)
        }

    def costs(self, found: Iterable[str]) -> dict[str, int]:
        """What those of them take that have the name of a slice."""
        costs = {}
        for name in filter(NAME.fullmatch, found):
            with suppress(FileNotFoundError):
                costs[name] = slice_cost((self._directory / name).lstat().st_size)
        return costs

    def probe(self) -> None:
        """:raises OSError: a file could not be written."""
        self._writing.write_bytes(b"probe")
        self._writing.unlink()


def names(folder: Path) -> list[str]:
    """What is in a folder, nothing if it is none. As a hundred thousand Paths it took a second."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_all(fd: int, parts: Iterable[Buffer]) -> None:
    """A full disk shows as a short write first: only the next one fails."""
    views = [memoryview(part) for part in parts]
    while views:
        written = os.writev(fd, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]
