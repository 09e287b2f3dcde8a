"""A folder that is removed or replaced under a running server, and what else may become of it."""

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.store.folder import FolderInUse, SliceFolder, check_unused
from tests.slices import SIZE, slice_files
from tests.store import test_folder
from tests.store.test_folder import CLIP, never, slices_of, write

folder = test_folder.folder


def other_server(folder: SliceFolder) -> SliceFolder:
    return SliceFolder(folder._directory, limit=2**30, slice_size=SIZE)


@pytest.mark.parametrize("what", ["folder", "lock"])
def test_nothing_is_changed_in_a_folder_that_is_not_ours_any_more(
    folder: SliceFolder, what: str
) -> None:
    name = write(folder)
    directory = folder._directory
    (directory if what == "folder" else directory / "lock").rename(directory.parent / "away")
    other = other_server(folder)
    other.attach()
    write(other)
    for change in (
        lambda: write(folder, number=1),
        lambda: folder.remove([name], never),
        lambda: folder.save_meta(CLIP.meta),
        folder.probe,
        folder.look,
    ):
        with pytest.raises(StoreError, match=r"removed or replaced|not open"):
            change()
        assert not folder.usable
    with pytest.raises(FolderInUse):
        folder.attach()
    assert [path.name for path in slice_files(directory)] == [Path(name).name]
    other.close()
    assert [one.key for one in slices_of(folder)] == [CLIP.key()]


def test_a_folder_that_took_its_place_is_not_believed_but_for_its_slices(
    folder: SliceFolder,
) -> None:
    """A copy of a while ago: what was purged since then is not told there."""
    write(folder)
    folder.save_meta(CLIP.meta)
    directory = folder._directory
    shutil.copytree(directory, directory.parent / "copy")
    folder.remove_meta(CLIP.meta.key)
    directory.rename(directory.parent / "away")
    (directory.parent / "copy").rename(directory)
    with pytest.raises(StoreError):
        folder.probe()
    contents = folder.attach()
    assert contents.slices == 1
    assert folder.other_versions(lambda _: False) == []
    assert folder.index.load_meta(CLIP.meta.key) is None
    folder.index.close_reader()
    assert folder.losses == 1


def test_a_deleted_folder_is_made_again(folder: SliceFolder) -> None:
    write(folder)
    shutil.rmtree(folder._directory)
    with pytest.raises(StoreError, match="removed or replaced"):
        folder.look()
    assert folder.attach().slices == 0
    write(folder)
    folder.look()
    with pytest.raises(FolderInUse):
        check_unused(folder._directory)


def test_what_is_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    folder = SliceFolder(tmp_path / "cache", limit=2**30, slice_size=SIZE)
    with pytest.raises(StoreError, match=r"cache\.dir is no folder"):
        folder.attach()
    check_unused(tmp_path / "cache")


def test_without_locks_no_server_is_seen_and_that_is_no_reason_not_to_start(
    folder: SliceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FolderInUse):
        check_unused(folder._directory)

    def fail(*_args: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    check_unused(folder._directory)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("f_flag", os.ST_RDONLY, "Read-only file system"),
        ("f_favail", 0, "No space left"),
        ("f_bavail", 0, "No space left"),
    ],
)
def test_a_look_tells_what_a_write_would_meet(
    folder: SliceFolder, monkeypatch: pytest.MonkeyPatch, column: str, value: int, said: str
) -> None:
    folder.look()
    found = os.statvfs(folder._directory)
    columns = [name for name in dir(found) if name.startswith("f_")]
    changed = {name: getattr(found, name) for name in columns} | {column: value}
    monkeypatch.setattr(os, "statvfs", lambda _: type("Disk", (), changed))
    with pytest.raises(StoreError, match=said):
        folder.look()


def test_what_hides_a_folders_lock_is_trouble_and_no_loss(
    folder: SliceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            folder.probe()
    folder.probe()
    assert (folder.usable, folder.losses) == (True, 0)
