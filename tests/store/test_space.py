"""A share is one of the file system that the folder is on, whether the folder is there or not."""

import os
from pathlib import Path

import pytest

from edgecache.core.units import Share
from edgecache.store.space import size_on, whole


def test_a_size_is_itself(tmp_path: Path) -> None:
    assert size_on(tmp_path, 4096) == 4096


def test_a_share_is_of_the_file_system(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    total = disk.f_blocks * disk.f_frsize
    assert size_on(tmp_path, Share(0.5)) == total // 2
    assert size_on(tmp_path / "not" / "there", Share(1.0)) == total


def test_a_disk_that_does_not_say_has_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> os.statvfs_result:
        raise OSError

    monkeypatch.setattr(os, "statvfs", fail)
    assert whole(tmp_path) == 0
