"""What the tests of a store in a folder share."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgecache.store.disk import DiskStore
from edgecache.store.files import SliceFiles, slice_cost
from tests.slices import SIZE, sliced

LIMIT = 16 * 2**20
CLIP = sliced(length=1000 * SIZE)
COST = slice_cost(SIZE + 200)

Make = Callable[..., DiskStore]


async def restarted(store: DiskStore, make: Make, **other: Any) -> DiskStore:
    await store.close()
    store = make(**other)
    await store.start()
    return store


def patch_os(monkeypatch: pytest.MonkeyPatch, call: str, code: int = errno.ENOSPC) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)


def have_nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that all slices that are opened are read by threads, with `pread`."""
    monkeypatch.setattr(SliceFiles, "open_at_once", lambda *_: None)


def plant(directory: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(directory / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


def held_files(directory: Path) -> list[str]:
    """The slices' files, those without a name too, that this process has open."""
    held = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            path = str(descriptor.readlink())
            if path.startswith(f"{directory}/v"):
                held.append(path)
    return held


def removed_files(directory: Path) -> list[str]:
    """Those of them that are gone from the folder."""
    return [path for path in held_files(directory) if path.endswith(" (deleted)")]
