import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecache.core.model import SliceKey
from edgecache.store.verified import SETTLED, Verified

KEY = SliceKey("ab" * 16, 3)
LATER = 4_000_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "slice"
    file.write_bytes(b"0123456789")
    return file


def knows(verified: Verified, file: Path, key: SliceKey = KEY) -> bool:
    return key in verified and verified.is_same(key, file.lstat())


def add(verified: Verified, key: SliceKey, file: Path) -> None:
    if (found_right := verified.adding(key, file.stat())) is not None:
        found_right()


def write_and_set_back(file: Path) -> None:
    """The length and the time of last change that it had: only ctime tells."""
    before = file.stat()
    file.write_bytes(b"9876543210")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def copy_over(file: Path) -> None:
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


TOUCHES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: os.truncate(file, 9),
    "written to": write_and_set_back,
    "another in its place": copy_over,
    "of another time": lambda file: os.utime(file, (1, 1)),
    "renamed, and back": lambda file: file.rename(file.with_name("x")).rename(file),
}


def test_a_file_is_known_for_its_slice_only(file: Path) -> None:
    verified = Verified(clock=lambda: LATER)
    assert not knows(verified, file)
    add(verified, KEY, file)
    assert knows(verified, file)
    assert not knows(verified, file, SliceKey(KEY.version, 4))
    assert not knows(verified, file, SliceKey("cd" * 16, 3))


@pytest.mark.parametrize("touch", TOUCHES)
def test_a_file_that_was_touched_is_another(file: Path, touch: str) -> None:
    verified = Verified(clock=lambda: LATER)
    add(verified, KEY, file)
    TOUCHES[touch](file)
    assert not knows(verified, file)


@pytest.mark.parametrize(("age", "known"), [(-60.0, False), (0.0, False), (SETTLED + 0.1, True)])
def test_a_file_that_may_change_unseen_is_not_remembered(
    file: Path, age: float, known: bool
) -> None:
    """Twice within one tick of the kernel's clock; or whose time is to come."""
    changed = file.stat().st_ctime_ns / 1e9
    verified = Verified(clock=lambda: changed + age)
    add(verified, KEY, file)
    assert knows(verified, file) is known


def test_how_old_it_was_when_it_was_looked_at_counts(file: Path) -> None:
    """Not when the last of it was read, hours later: it may have changed right after the look."""
    times = [file.stat().st_ctime_ns / 1e9]
    verified = Verified(clock=lambda: times[-1])
    assert verified.adding(KEY, file.stat()) is None
    times.append(LATER)
    assert verified.adding(KEY, file.stat()) is not None


def test_what_was_touched_while_it_was_read_is_not_known(file: Path) -> None:
    verified = Verified(clock=lambda: LATER)
    found_right = verified.adding(KEY, file.stat())
    write_and_set_back(file)
    assert found_right is not None
    found_right()
    assert not knows(verified, file)


def test_its_memory_is_bounded(file: Path) -> None:
    verified = Verified(8, clock=lambda: LATER)
    keys = [SliceKey("ab" * 16, number) for number in range(100)]
    for key in keys:
        add(verified, key, file)
    known = sum(knows(verified, file, key) for key in keys)
    assert 0 < known <= 8


def test_a_cell_of_two_halves_fits_neither(file: Path) -> None:
    """Two threads that came to one place at once."""
    verified, other = Verified(1, clock=lambda: LATER), SliceKey("cd" * 16, 3)
    add(verified, KEY, file)
    half = verified._files[0]
    add(verified, other, file)
    verified._files[0] = half
    assert not knows(verified, file)
    assert not knows(verified, file, other)
