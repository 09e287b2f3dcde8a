"""Whoever can write into the folder can make misses, and nothing else."""

import logging
import os
import pickle  # noqa: TID251  # to plant what must never be read
from pathlib import Path

import pytest

from edgecache.core.model import ObjectKey
from edgecache.store.disk import DiskStore
from edgecache.store.files import NAME
from edgecache.store.index_files import DATABASE
from edgecache.store.index_rows import meta_name
from edgecache.store.reader import ReadStore
from tests.slices import SIZE, meta_of, slice_files, sliced
from tests.store.support import CLIP, Make, plant
from tests.store.test_disk import put, read
from tests.store.test_rows import Payload

SECRET = b"somebody's else's"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's, with a file that has the name of a slice."""
    outside = tmp_path / "outside"
    for folder in (outside, outside / CLIP.meta.version[:2]):
        folder.mkdir()
        (folder / f"{CLIP.meta.version}-0").write_bytes(SECRET)
        (folder / "file").write_bytes(SECRET)
    return outside


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def open_up(directory: Path, *files: str) -> None:
    directory.mkdir(exist_ok=True)
    for name in files:
        (directory / name).touch()
    directory.chmod(0o777)


def link(place: Path, target: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_an_open_folder_of_ours_is_closed(make: Make, directory: Path) -> None:
    store = make()
    await store.start()
    await store.close()
    open_up(directory)
    store = make()
    await store.start()
    assert mode(directory) == 0o700
    await store.close()


async def test_a_folder_that_is_something_else_too_is_left_open_and_that_is_said(
    make: Make, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """/tmp, say."""
    open_up(directory, "precious")
    store = make()
    with caplog.at_level(logging.WARNING):
        await store.start()
    assert mode(directory) == 0o777
    assert "open to others" in caplog.text
    assert await put(store, CLIP)
    await store.close()


async def test_what_is_made_is_for_its_owner_only(store: DiskStore, directory: Path) -> None:
    await put(store, CLIP)
    (file,) = slice_files(directory)
    for path in (file, file.parent, file.parent.parent):
        assert mode(path) & 0o077 == 0


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("place", ["the tree", "a shard"])
async def test_linked_folders_are_not_followed(
    make: Make, directory: Path, outside: Path, place: str, running: bool
) -> None:
    store = make()
    await store.start()
    await put(store, CLIP)
    before = contents(outside)
    if not running:
        await store.close()
    shard = slice_files(directory)[0].parent
    folder = shard if place == "a shard" else shard.parent
    folder.rename(directory / "away")
    link(folder, outside)
    if not running:
        store = make()
        await store.start()
    assert await read(store, CLIP) is None
    await put(store, CLIP)
    await put(store, CLIP, 1)
    assert await read(store, CLIP, 1) in (CLIP.data(1), None)
    await store.close()
    assert contents(outside) == before


@pytest.mark.parametrize("name", ["lock", "writing", *DATABASE, "broken-1", "broken-2"])
async def test_linked_files_are_not_followed(
    make: Make, directory: Path, outside: Path, name: str
) -> None:
    before = contents(outside)
    link(directory / name, outside / "file")
    if name.startswith("broken"):
        (directory / DATABASE[0]).write_text("garbage")
    store = make()
    store._writer.interval = 0.0
    await store.start()
    assert await put(store, CLIP) == (name != "lock")
    assert bool(store.trouble()) == (name == "lock")
    if not store.trouble():
        await store._writer.probe()
        assert await read(store, CLIP) == CLIP.data()
    await store.close()
    assert contents(outside) == before


async def test_a_link_in_place_of_what_is_written_is_not_followed(
    store: DiskStore, directory: Path, outside: Path
) -> None:
    before = contents(outside)
    link(directory / "writing", outside / "file")
    assert not await put(store, CLIP)
    assert await put(store, CLIP)  # it is gone
    link(directory / "writing", outside / "file")
    with pytest.raises(Exception, match="symbolic links"):
        await store._writer.probe()
    assert contents(outside) == before


async def test_a_worker_never_unpickles_either(
    store: DiskStore, directory: Path, tmp_path: Path
) -> None:
    pickled = pickle.dumps(Payload(tmp_path / "marker"))
    await put(store, CLIP)
    await store.save_meta(CLIP.meta)
    reader = ReadStore(directory, slice_size=SIZE, most_open=10)
    assert await reader.load_meta(CLIP.meta.key) == CLIP.meta
    plant(directory, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 4, ?)", pickled, "")
    name = meta_name(meta_of("outputs/planted").key)
    plant(directory, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 4, ?)", name, pickled)
    plant(directory, "UPDATE Cache SET mode = 4, value = ? WHERE mode = 1", pickled)
    for key in (CLIP.meta.key, meta_of("outputs/planted").key):
        assert await reader.load_meta(key) is None
    assert await reader.slices(CLIP.meta.version) == {0}
    assert await reader.slices("") == set()
    await reader.close()
    assert not (tmp_path / "marker").exists()


async def test_a_worker_follows_no_link_to_an_index(
    store: DiskStore, directory: Path, tmp_path: Path
) -> None:
    await store.save_meta(CLIP.meta)
    await store.close()
    linked = tmp_path / "linked"
    link(linked / DATABASE[0], directory / DATABASE[0])
    reader = ReadStore(linked, slice_size=SIZE, most_open=10)
    assert await reader.load_meta(CLIP.meta.key) is None
    await reader.close()


HOSTILE = [
    "../../../etc/cron.d/x",
    "/etc/passwd",
    "a/../b",
    "..",
    "v2-65536/00/x",
    "lock",
    "%2e%2e",
]


async def test_no_path_is_made_of_a_key(make: Make, directory: Path, tmp_path: Path) -> None:
    store = make()
    await store.start()
    for key in HOSTILE:
        clip = sliced()
        meta = meta_of(key, etag=f'"{key}"')
        await store.save_meta(meta)
        assert await store.put(clip.key()._replace(version=meta.version), meta, clip.data())
        assert await store.load_meta(ObjectKey("runpod", key)) == meta
    names = [str(path.relative_to(directory)) for path in slice_files(directory)]
    assert len(names) == len(HOSTILE)
    assert all(map(NAME.fullmatch, names))
    assert os.listdir(tmp_path) == ["cache"]  # noqa: PTH208
    await store.close()
