"""Nothing is pickled, and nothing pickled is read: CVE-2025-69872."""

import os
import pickle  # noqa: TID251  # to plant what must never be read
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import diskcache
import pytest

from edgecache.store.rows import MODE_FILE, RowRefused, SliceDisk, SliceFile

MODE_PICKLE = 4


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[diskcache.Cache]:
    with diskcache.Cache(tmp_path / "cache", disk=SliceDisk, eviction_policy="none") as cache:
        yield cache


def plant(cache: diskcache.Cache, **columns: object) -> None:
    row = {"key": "k", "raw": 1, "mode": 1, "filename": None, "value": None} | columns
    with sqlite3.connect(Path(cache.directory) / "cache.db") as connection:
        connection.execute(
            f"INSERT INTO Cache ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )
    connection.close()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


def test_the_payload_works(marker: Path) -> None:
    """Or the other tests would say nothing."""
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


def test_a_pickled_value_is_refused(cache: diskcache.Cache, marker: Path) -> None:
    plant(cache, mode=MODE_PICKLE, value=pickle.dumps(Payload(marker)))
    with pytest.raises(RowRefused):
        cache.get("k")
    assert not marker.exists()


def test_a_file_with_a_pickled_value_is_refused(cache: diskcache.Cache, marker: Path) -> None:
    (Path(cache.directory) / "planted.val").write_bytes(pickle.dumps(Payload(marker)))
    plant(cache, mode=MODE_PICKLE, filename="planted.val")
    with pytest.raises(RowRefused):
        cache.get("k")
    assert not marker.exists()


def test_a_pickled_key_is_refused(cache: diskcache.Cache, marker: Path) -> None:
    plant(cache, key=pickle.dumps(Payload(marker)), raw=0, value="text")
    with pytest.raises(RowRefused):
        list(cache)
    assert not marker.exists()


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["list"], {"a": 1}, object()])
def test_nothing_but_text_and_files_is_stored(cache: diskcache.Cache, value: object) -> None:
    with pytest.raises(RowRefused):
        cache.set("k", value)


@pytest.mark.parametrize("key", [None, 1, b"bytes", ("tu", "ple"), 1.5])
def test_nothing_but_text_is_a_key(cache: diskcache.Cache, key: object) -> None:
    with pytest.raises(RowRefused):
        cache.set(key, "text")
    with pytest.raises(RowRefused):
        cache.get(key)


def test_text_is_inline_whatever_its_size(cache: diskcache.Cache) -> None:
    cache.set("k", "é" * 100_000)
    assert cache.get("k") == "é" * 100_000
    assert {path.name.split("-")[0] for path in Path(cache.directory).iterdir()} == {"cache.db"}


def test_the_row_of_a_slice_names_its_file_and_is_never_read(cache: diskcache.Cache) -> None:
    cache.set("v2-1/ab/abc-0", SliceFile(12))
    rows = cache._sql("SELECT key, mode, size, filename, value FROM Cache").fetchall()
    assert rows == [("v2-1/ab/abc-0", MODE_FILE, 12, "v2-1/ab/abc-0", None)]
    with pytest.raises(RowRefused):
        cache.get("v2-1/ab/abc-0")


def test_a_replaced_row_leaves_the_file_alone(cache: diskcache.Cache) -> None:
    """The row that replaces it names the same file."""
    file = Path(cache.directory) / "slice"
    file.write_bytes(b"new")
    cache.set("slice", SliceFile(3))
    cache.set("slice", SliceFile(3))
    cache.delete("slice")
    assert file.read_bytes() == b"new"
