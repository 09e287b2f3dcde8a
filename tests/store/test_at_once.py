"""What is in memory is opened and read at once, and nothing else is waited for."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.store import at_once
from edgecache.store.at_once import MOST, NOWAIT, AtOnce, Later
from edgecache.store.files import READING

pytestmark = pytest.mark.skipif(not NOWAIT, reason="only Linux reads without waiting")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3000))
    return file


@pytest.fixture
def opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_what_was_just_written_is_there_at_once(file: Path) -> None:
    files = AtOnce(READING)
    descriptor = files.open(str(file))
    try:
        assert files.read(descriptor, 3000) == file.read_bytes()
        assert files.read(descriptor, 10) == file.read_bytes()[:10]
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_what_is_not_there_and_a_link_are_left_to_a_thread(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    files = AtOnce(READING)
    for name in ("none", "link"):
        with pytest.raises(Later):
            files.open(str(tmp_path / name))
    os.close(files.open(str(file)))


def test_names_that_are_not_in_memory_are_left_to_a_thread(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says so with EAGAIN, and that once says nothing of the next."""
    answers = [-1, 77]
    monkeypatch.setattr(at_once, "system_call", lambda: lambda *_: answers.pop(0))
    monkeypatch.setattr("ctypes.get_errno", lambda: errno.EAGAIN)
    files = AtOnce(READING)
    with pytest.raises(Later):
        files.open(str(file))
    assert files.open(str(file)) == 77


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_where_there_is_no_such_call_it_is_tried_once(
    file: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*asked: object) -> int:
        calls.append(asked)
        return -1

    monkeypatch.setattr(at_once, "system_call", lambda: fail)
    monkeypatch.setattr("ctypes.get_errno", lambda: code)
    files = AtOnce(READING)
    for _ in range(3):
        with pytest.raises(Later):
            files.open(str(file))
    assert len(calls) == 1


def test_elsewhere_the_number_of_a_call_means_another_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Later):
        AtOnce(READING).open(str(file))


def test_a_file_that_ends_early_is_left_to_a_thread(opened: int) -> None:
    with pytest.raises(Later):
        AtOnce(READING).read(opened, 3001)


def test_what_is_large_is_left_to_a_thread(file: Path, opened: int) -> None:
    os.truncate(file, MOST + 1)
    AtOnce(READING).read(opened, MOST)
    with pytest.raises(Later):
        AtOnce(READING).read(opened, MOST + 1)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP, errno.EIO])
def test_what_cannot_be_read_is_left_to_a_thread(
    opened: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(Later):
        AtOnce(READING).read(opened, 3000)
