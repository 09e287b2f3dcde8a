"""What a file system has. Rule: a folder that is not there yet is on its parent's."""

import os
from pathlib import Path

from edgecache.core.units import Share


def size_on(directory: Path, size: int | Share) -> int:
    """`size` in bytes; a share is one of the whole file system that `directory` is on."""
    return size.of(whole(directory)) if isinstance(size, Share) else size


def whole(directory: Path) -> int:
    """Bytes of the file system; 0: it does not say."""
    for place in (directory.absolute(), *directory.absolute().parents):
        try:
            disk = os.statvfs(place)
        except OSError:
            continue
        return disk.f_blocks * disk.f_frsize
    return 0
