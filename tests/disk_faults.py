"""What can go wrong with the disk under a cache, as values with a beginning and an end.

Rule of this module: real ones. File systems are mounted, filled, aborted and shut down as an
operator or a dying disk does it; only what the kernel gives no handle for is put in front of `os`.
"""

import errno
import fcntl
import os
import random
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from edgecache.store.index import SliceIndex
from tests.conftest import require
from tests.slices import meta_of

# What ext4 does at once when asked: every call from then on fails with EIO.
EXT4_SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = struct.pack("I", 2)
IMAGE = 24 * 2**20


class Disk:
    """A folder for a cache, which may be on a file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "disk"
        self.root.mkdir(parents=True)
        self.cache = self.root / "cache"
        self.database = self.cache / "cache.db"
        self.log = self.cache / "cache.db-wal"
        self._image = folder / "image"
        self._ends: list[Callable[[], object]] = []

    def at_end(self, call: Callable[[], object]) -> None:
        """When the fault is over, the last one first."""
        self._ends.append(call)

    def end(self) -> None:
        while self._ends:
            self._ends.pop()()

    def mount(self, *arguments: str) -> None:
        mount(*arguments, str(self.root))

    def mount_tmpfs(self, options: str = "size=24m") -> None:
        self.mount("-t", "tmpfs", "-o", options, "tmpfs")

    def mount_ext4(self) -> None:
        with self._image.open("wb") as image:
            image.truncate(IMAGE)
        subprocess.run([require("mkfs.ext4"), "-q", self._image], check=True, capture_output=True)
        self.mount("-o", "loop", str(self._image))

    def shut_down(self) -> None:
        root = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(root, EXT4_SHUTDOWN, WITHOUT_FLUSH)
        finally:
            os.close(root)

    def fill(self) -> None:
        """By somebody else, to the last byte."""
        hog = self.root / "hog"
        with hog.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(2**20)):
                pass
        self.at_end(hog.unlink)

    def use_inodes(self) -> None:
        hog = self.root / "hog"
        hog.mkdir()
        with suppress(OSError):
            for number in range(100_000):
                (hog / str(number)).touch()
        self.at_end(lambda: shutil.rmtree(hog))

    def unmount(self) -> None:
        while self.root.is_mount():
            subprocess.run([require("umount"), "-l", self.root], check=True)


def mount(*arguments: str) -> None:
    """Root only."""
    done = subprocess.run([require("mount"), *arguments], capture_output=True, text=True)
    if done.returncode:
        if os.environ.get("CI") == "true":
            pytest.fail(done.stderr)
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Fault:
    """`lasts`: it is told until it ends; else it is a blow, and what follows is up to the server.

    `told`: in /readyz while it lasts. `hits`: what is cached is still served from the cache.
    `loses`: an index, which is counted; None: where it is found out. `starts`: also before a start.
    """

    begin: Callable[[Disk], object]
    prepare: Callable[[Disk], object] = lambda _: None
    lasts: bool = False
    told: str = ""
    hits: bool = False
    loses: bool | None = False
    starts: bool = True


def failing(disk: Disk, code: int, *calls: str) -> None:
    """Those calls of `os` fail, for whoever makes them."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    for call in calls:
        patched = patch.object(os, call, fail)
        patched.start()
        disk.at_end(patched.stop)


def moved_away(disk: Disk) -> Path:
    away = disk.root / "away"
    if disk.cache.exists():
        disk.cache.rename(away)
    return away


def make_file(disk: Disk) -> None:
    moved_away(disk)
    disk.cache.write_text("a file")
    disk.at_end(disk.cache.unlink)


def make_dangling(disk: Disk) -> None:
    moved_away(disk)
    disk.cache.symlink_to(disk.root / "none" / "there")
    disk.at_end(disk.cache.unlink)


def make_link(disk: Disk) -> None:
    moved_away(disk)
    (disk.root / "elsewhere").mkdir()
    disk.cache.symlink_to(disk.root / "elsewhere")


def make_anew(disk: Disk) -> None:
    moved_away(disk)
    disk.cache.mkdir(mode=0o755)


def restore_copy(disk: Disk) -> None:
    """Of a moment ago: what changed since then is not in it."""
    copy = disk.root / "copy"
    shutil.copytree(disk.cache, copy)
    moved_away(disk)
    copy.rename(disk.cache)


def lock_anew(disk: Disk) -> None:
    """Another server has the folder that took the place of ours."""
    other = disk.root / "other"
    other.mkdir()
    lock = os.open(other / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    moved_away(disk)
    other.rename(disk.cache)
    disk.at_end(lambda: os.close(lock))


def mount_over(disk: Disk) -> None:
    """The end of a disk: another one in its place."""
    disk.at_end(disk.mount_tmpfs)


def abort(disk: Disk) -> None:
    """As ext4 does after an error: read-only, whoever has files open for writing."""
    disk.mount("-o", "remount,abort")
    mount_over(disk)


def shut_down(disk: Disk) -> None:
    disk.shut_down()
    mount_over(disk)


def zero(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 1000)


def scribble(path: Path) -> None:
    """Random pages, but for the first."""
    choose = random.Random(7)
    with path.open("r+b") as file:
        for start in range(4096, path.stat().st_size, 2 * 4096):
            file.seek(start)
            file.write(choose.randbytes(4096))


def other_log(disk: Disk) -> None:
    """Of another cache: as good as any, but for the pages that are not in it."""
    folder = disk.root / "other"
    folder.mkdir()
    other = SliceIndex(folder, IMAGE)
    other.open()
    for number in range(200):
        other.save_meta(meta_of(f"other/{number}.mp4"))
    disk.log.unlink(missing_ok=True)
    shutil.copy(folder / disk.log.name, disk.log)
    other.close()


def other_schema(disk: Disk) -> None:
    """Written over what is there: the same file."""
    other = disk.root / "other.db"
    connection = sqlite3.connect(other, isolation_level=None)
    connection.execute("CREATE TABLE Cache (key, colour)")
    connection.close()
    disk.database.write_bytes(other.read_bytes())


def delete_slices(disk: Disk) -> None:
    for tree in disk.cache.glob("v*-*"):
        shutil.rmtree(tree)


def delete(name: str) -> Callable[[Disk], None]:
    return lambda disk: (disk.cache / name).unlink(missing_ok=True)


FAULTS: dict[str, Fault] = {
    "disk full": Fault(
        Disk.fill, Disk.mount_tmpfs, lasts=True, told="No space left on device", hits=True
    ),
    "no inodes": Fault(
        Disk.use_inodes,
        lambda disk: disk.mount_tmpfs("size=24m,nr_inodes=400"),
        lasts=True,
        told="No space left on device",
        hits=True,
    ),
    "read-only": Fault(
        abort, Disk.mount_ext4, lasts=True, loses=True, told="Read-only file system", hits=True
    ),
    "EIO on everything": Fault(
        shut_down, Disk.mount_ext4, lasts=True, loses=True, told="Input/output error"
    ),
    "EIO on write": Fault(
        lambda disk: failing(disk, errno.EIO, "writev"),
        lasts=True,
        told="Input/output error",
        hits=True,
    ),
    "EIO on read": Fault(
        lambda disk: failing(disk, errno.EIO, "pread", "preadv"),
        lasts=True,
        told="Input/output error",
    ),
    "no descriptors": Fault(
        lambda disk: failing(disk, errno.EMFILE, "open"),
        lasts=True,
        told="Too many open files",
        hits=True,
        starts=False,  # then there are none for the access log either
    ),
    "a file in its place": Fault(make_file, lasts=True, loses=True, told="cache.dir is no folder"),
    "a link to nowhere": Fault(
        make_dangling, lasts=True, loses=True, told="cache.dir is no folder"
    ),
    "another server's": Fault(
        lock_anew, lasts=True, loses=True, told="in use by another", starts=False
    ),
    "folder deleted": Fault(lambda disk: shutil.rmtree(disk.cache), loses=True),
    "folder replaced": Fault(make_anew, loses=True),
    "folder restored": Fault(restore_copy, loses=True),
    "a link in its place": Fault(make_link, loses=True),
    "lock deleted": Fault(delete("lock"), loses=True),
    "index deleted": Fault(delete("cache.db"), loses=True),
    "index zeroed": Fault(lambda disk: zero(disk.database), loses=None),
    "index halved": Fault(lambda disk: halve(disk.database), loses=None),
    "index emptied": Fault(lambda disk: os.truncate(disk.database, 0), loses=None),
    "index scribbled on": Fault(lambda disk: scribble(disk.database), loses=None),
    "another schema": Fault(other_schema, loses=None),
    "-wal deleted": Fault(delete("cache.db-wal"), loses=True),
    "-wal emptied": Fault(lambda disk: os.truncate(disk.log, 0), loses=None),
    "-wal of another": Fault(other_log, loses=True),
    "-shm deleted": Fault(delete("cache.db-shm"), loses=True),
    "slices deleted": Fault(delete_slices),
}


@contextmanager
def disk_for(fault: Fault, folder: Path) -> Iterator[Disk]:
    disk = Disk(folder)
    try:
        fault.prepare(disk)
        yield disk
    finally:
        disk.end()
        disk.unmount()
