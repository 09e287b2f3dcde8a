from pathlib import Path

import pytest

from edgecache.store.index_files import DATABASE, PAGE, IndexFiles, SharedMemory, remove


@pytest.fixture
def files(tmp_path: Path) -> IndexFiles:
    for number, name in enumerate(DATABASE):
        (tmp_path / name).write_bytes(b"x" * number * PAGE)
    return IndexFiles(tmp_path)


def test_files_that_were_replaced_are_others(files: IndexFiles, tmp_path: Path) -> None:
    found = files.found()
    assert found is not None
    assert files.found() == found
    kept = tmp_path / "kept"  # else the next file may have its number
    (tmp_path / DATABASE[0]).rename(kept)
    assert files.found() is None
    (tmp_path / DATABASE[0]).write_bytes(b"")
    assert files.found() not in (None, found)


def test_sizes_are_whole_pages(files: IndexFiles, tmp_path: Path) -> None:
    (tmp_path / DATABASE[1]).write_bytes(b"x")
    (tmp_path / DATABASE[2]).unlink()
    assert files.sizes() == (0, PAGE, 0)


def test_two_are_kept_aside(files: IndexFiles, tmp_path: Path) -> None:
    for content in (b"first", b"second", b"third"):
        (tmp_path / DATABASE[0]).write_bytes(content)
        files.set_aside()
    assert (tmp_path / "broken-1" / DATABASE[0]).read_bytes() == b"third"
    assert (tmp_path / "broken-2" / DATABASE[0]).read_bytes() == b"second"
    assert files.aside() == 2 * PAGE
    files.set_aside()  # nothing is there
    assert (tmp_path / "broken-1" / DATABASE[0]).read_bytes() == b"third"


def test_what_is_no_file_is_in_the_way(files: IndexFiles, tmp_path: Path) -> None:
    assert not files.are_blocked()
    (tmp_path / DATABASE[1]).unlink()
    (tmp_path / DATABASE[1]).symlink_to(tmp_path / "elsewhere")
    assert files.are_blocked()


def test_of_a_link_only_the_link_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("kept")
    link = tmp_path / "link"
    link.symlink_to(folder)
    remove(link)
    assert not link.is_symlink()
    assert (folder / "file").exists()
    remove(folder)
    assert not folder.exists()
    remove(folder)


def test_shared_memory_without_a_name_or_that_is_another_is_not_cut(tmp_path: Path) -> None:
    file = tmp_path / DATABASE[2]
    shared = SharedMemory(tmp_path)
    shared.mend()
    file.write_bytes(b"x" * 100)
    assert not shared.is_cut()
    (tmp_path / "other").write_bytes(b"x" * 10)  # now: after it is gone its number is free again
    file.unlink()
    assert not shared.is_cut()
    (tmp_path / "other").rename(file)
    shared.mend()
    assert file.read_bytes() == b"x" * 10
    file.write_bytes(b"x")
    assert shared.is_cut()
    shared.mend()
    assert file.read_bytes() == bytes(10)
