"""Objects cut into slices, for the tests of the store."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from edgecache.core.model import ObjectKey, ObjectMeta, Removal, SliceKey
from tests.pattern import Pattern

SIZE = 64 * 2**10


def meta_of(key: str = "outputs/clip.mp4", *, length: int = SIZE, etag: str = '"v1"') -> ObjectMeta:
    return ObjectMeta(
        key=ObjectKey("runpod", key),
        etag=etag,
        origin_etag=etag,
        length=length,
        last_modified=1_700_000_000,
        date=1_750_000_000,
        request_time=1_750_000_000.25,
        response_time=1_750_000_000.5,
        headers=(("content-type", "video/mp4"),),
    )


@dataclass
class Sliced:
    """An object: its meta, and its slices."""

    meta: ObjectMeta
    body: Pattern
    size: int = SIZE

    def key(self, number: int = 0) -> SliceKey:
        return SliceKey(self.meta.version, number)

    def data(self, number: int = 0) -> bytes:
        return self.body.read(number * self.size, (number + 1) * self.size)


def sliced(name: str = "clip.mp4", *, length: int = SIZE, etag: str = '"v1"') -> Sliced:
    meta = meta_of(f"outputs/{name}", length=length, etag=etag)
    return Sliced(meta, Pattern(length, seed=len(name) + ord(etag[-2])))


@dataclass
class Removals:
    """What a store tells of slices that leave it."""

    seen: list[tuple[Removal, int]] = field(default_factory=list)

    def __call__(self, reason: Removal, size: int) -> None:
        self.seen.append((reason, size))

    @property
    def reasons(self) -> list[Removal]:
        return [reason for reason, _size in self.seen]


def disk_use(directory: Path) -> int:
    """As `du` counts: blocks of every file and folder."""
    total = directory.lstat().st_blocks
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += disk_use(Path(entry.path)) // 512
            else:
                total += entry.stat(follow_symlinks=False).st_blocks
    return total * 512


def slice_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("v*-*/*/*") if path.is_file())
