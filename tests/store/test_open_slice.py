import asyncio
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.core.model import Removal, SliceKey
from edgecache.store.at_once import NOWAIT
from edgecache.store.files import OpenedFile, WrongSlice
from edgecache.store.open_slice import DiskSlice, NoWait, OpenSlices
from edgecache.store.slice_format import PART, checksum, parts
from tests.pattern import Pattern

HEADER = b"header"
DATA = bytes(range(256)) * 1024
KEYS = [SliceKey("v", number) for number in range(4)]

needs_nowait = pytest.mark.skipif(not NOWAIT, reason="only Linux reads without waiting")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "slice"
    file.write_bytes(HEADER + DATA)
    return file


@pytest.fixture
def opened(file: Path, threads: ThreadPoolExecutor) -> Callable[[], DiskSlice]:
    def make() -> DiskSlice:
        written = file.stat().st_mtime_ns
        opened = OpenedFile(os.open(file, os.O_RDONLY), len(HEADER), len(DATA), written)
        return DiskSlice(opened, nowait=NoWait(), threads=threads)

    return make


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


SPANS = [(0, len(DATA)), (0, 1), (1000, 70_000), (len(DATA) - 1, len(DATA)), (5, 5)]


@pytest.mark.parametrize(("start", "stop"), SPANS)
async def test_the_long_way(opened: Callable[[], DiskSlice], start: int, stop: int) -> None:
    assert await opened().read(start, stop) == DATA[start:stop]


@needs_nowait
@pytest.mark.parametrize(("start", "stop"), SPANS)
def test_what_memory_holds_is_read_at_once(
    opened: Callable[[], DiskSlice], start: int, stop: int
) -> None:
    assert opened().read_nowait(start, stop) == DATA[start:stop]


@needs_nowait
def test_each_read_has_a_buffer_of_its_own(opened: Callable[[], DiskSlice]) -> None:
    """A transport may hold on to it."""
    slice_ = opened()
    first = slice_.read_nowait(0, 100)
    slice_.read_nowait(100, 200)
    assert first == DATA[:100]


@needs_nowait
def test_what_would_wait_is_none(
    opened: Callable[[], DiskSlice], monkeypatch: pytest.MonkeyPatch
) -> None:
    def would_block(*_args: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "")

    slice_ = opened()
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", would_block)
        assert slice_.read_nowait(0, 10) is None
        patch.setattr(os, "preadv", lambda *_args: 9)  # the rest is not in memory
        assert slice_.read_nowait(0, 10) is None
    assert slice_.read_nowait(0, 10) == DATA[:10]


@needs_nowait
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
async def test_a_file_system_without_it_is_asked_once(
    opened: Callable[[], DiskSlice], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def unsupported(*_args: object) -> int:
        calls.append(1)
        raise OSError(code, "")

    monkeypatch.setattr(os, "preadv", unsupported)
    slice_ = opened()
    assert [slice_.read_nowait(0, 10) for _ in range(3)] == [None] * 3
    assert len(calls) == 1
    assert await slice_.read(0, 10) == DATA[:10]


async def test_a_file_cut_short_gives_no_short_bytes(
    opened: Callable[[], DiskSlice], file: Path
) -> None:
    slice_ = opened()
    failures: list[WrongSlice] = []
    slice_.on_failure = failures.append
    os.truncate(file, 1000)
    assert slice_.read_nowait(0, 2000) is None
    with pytest.raises(StoreError, match="cut short"):
        await slice_.read(0, 2000)
    assert [wrong.reason for wrong in failures] == [Removal.CORRUPT]


async def test_a_file_that_was_written_to_gives_no_bytes(
    opened: Callable[[], DiskSlice], file: Path
) -> None:
    slice_ = opened()
    failures: list[WrongSlice] = []
    slice_.on_failure = failures.append
    with file.open("r+b") as data:
        data.seek(5000)
        data.write(b"!")
    assert slice_.read_nowait(0, 2000) is None
    with pytest.raises(StoreError, match="was written to"):
        await slice_.read(0, 2000)
    assert [wrong.reason for wrong in failures] == [Removal.CORRUPT]


# A slice of four parts, as it is when it was opened: the first is verified.
LARGE = Pattern(3 * PART + 1000, seed=3).read(0, 3 * PART + 1000)
CHECKSUMS = b"".join(map(checksum, parts(LARGE)))
WIDE = [
    (0, 10),
    (PART - 10, PART + 10),
    (PART + 10, PART + 20),
    (PART, 2 * PART),
    (5, len(LARGE)),
    (0, len(LARGE)),
    (3 * PART, 3 * PART + 1),
    (len(LARGE) - 1, len(LARGE)),
    (7, 7),
]


@dataclass
class Large:
    path: Path
    opened: DiskSlice
    verified: list[bool] = field(default_factory=list)
    failures: list[WrongSlice] = field(default_factory=list)

    def flip(self, at: int) -> None:
        """As the disk itself would: no time tells of it."""
        times = self.path.stat()
        with self.path.open("r+b") as data:
            data.seek(len(HEADER) + at)
            data.write(bytes([LARGE[at] ^ 1]))
        os.utime(self.path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture
def large(tmp_path: Path, threads: ThreadPoolExecutor) -> Large:
    path = tmp_path / "large"
    path.write_bytes(HEADER + LARGE)
    verified: list[bool] = []
    file = OpenedFile(
        os.open(path, os.O_RDONLY),
        len(HEADER),
        len(LARGE),
        path.stat().st_mtime_ns,
        CHECKSUMS,
        lambda: verified.append(True),
    )
    large = Large(path, DiskSlice(file, nowait=NoWait(), threads=threads), verified)
    large.opened.on_failure = large.failures.append
    return large


@pytest.mark.parametrize(("start", "stop"), WIDE)
async def test_what_is_read_of_parts(large: Large, start: int, stop: int) -> None:
    assert await large.opened.read(start, stop) == LARGE[start:stop]
    assert await large.opened.read(start, stop) == LARGE[start:stop]


@needs_nowait
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("start", "stop"), WIDE)
def test_what_memory_holds_of_parts(large: Large, start: int, stop: int, given: bool) -> None:
    into = memoryview(bytearray(stop - start)) if given else None
    for _ in range(2):
        found = large.opened.read_nowait(start, stop, into)
        assert found == LARGE[start:stop]
        assert into is None or found is into


@needs_nowait
def test_once_all_parts_are_verified_nothing_more_is_read_than_was_asked_for(
    large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    preadv = os.preadv

    def noted(fd: int, buffers: Sequence[bytearray], at: int, flags: int) -> int:
        lengths.append(len(buffers[0]))
        return preadv(fd, buffers, at, flags)

    monkeypatch.setattr(os, "preadv", noted)
    large.opened.read_nowait(0, 10)
    large.opened.read_nowait(PART + 1, PART + 2)
    large.opened.read_nowait(2 * PART - 1, 2 * PART + 1)
    assert not large.verified
    large.opened.read_nowait(len(LARGE) - 1, len(LARGE))
    assert large.verified == [True]
    large.opened.read_nowait(PART + 1, PART + 2)
    assert lengths == [10, PART, PART + 1, 1000, 1]
    assert large.verified == [True]


@pytest.mark.parametrize("at", [PART, 2 * PART - 1, 3 * PART + 5, len(LARGE) - 1])
async def test_no_byte_of_a_wrong_part_is_given(large: Large, at: int) -> None:
    large.flip(at)
    part = at // PART * PART
    for start, stop in ((at, at + 1), (part, part + 1), (0, len(LARGE)), (part, len(LARGE))):
        assert large.opened.read_nowait(start, stop) is None
        with pytest.raises(StoreError, match="content is wrong"):
            await large.opened.read(start, stop)
    assert {wrong.reason for wrong in large.failures} == {Removal.CORRUPT}
    assert not large.verified


async def test_what_is_right_beside_a_wrong_part_is_given(large: Large) -> None:
    large.flip(2 * PART)
    assert await large.opened.read(0, 2 * PART) == LARGE[: 2 * PART]
    assert await large.opened.read(3 * PART, len(LARGE)) == LARGE[3 * PART :]
    assert not large.failures


def test_a_part_that_is_to_be_verified_once_more_is_no_damage(large: Large) -> None:
    """Of two threads that verified different parts one may have undone what the other noted."""
    assert large.opened._read(0, len(LARGE)) == LARGE
    widened = large.opened._widened(PART + 5, 2 * PART + 5)
    large.opened._unverified = 0b110
    assert widened == (PART + 5, 2 * PART + 5)
    assert large.opened._verify(PART + 5, LARGE[PART + 5 : 2 * PART + 5])
    assert large.opened._read(PART + 5, 2 * PART + 5) == LARGE[PART + 5 : 2 * PART + 5]


async def test_many_who_read_at_once_see_right_bytes(large: Large) -> None:
    spans = [(at, at + PART // 2) for at in range(0, 2 * PART, PART // 3)] * 4
    found = await asyncio.gather(*(large.opened.read(*span) for span in spans))
    assert [bytes(one) for one in found] == [LARGE[start:stop] for start, stop in spans]


def test_a_file_without_a_name_is_read_on(opened: Callable[[], DiskSlice], file: Path) -> None:
    """What is evicted is removed while it is read."""
    slice_ = opened()
    file.unlink()
    assert slice_._read(0, 2000) == DATA[:2000]


async def test_a_read_error_is_the_stores(
    opened: Callable[[], DiskSlice], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    slice_ = opened()
    failures: list[WrongSlice] = []
    slice_.on_failure = failures.append
    with pytest.raises(StoreError, match="Input/output error"):
        await slice_.read(0, 10)
    (wrong,) = failures
    assert (wrong.reason, str(wrong)) == (Removal.UNREAD, "Input/output error")


async def test_short_reads_are_carried_on(
    opened: Callable[[], DiskSlice], monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: pread(fd, min(length, 7), at))
    assert await opened().read(10, 100) == DATA[10:100]


async def test_after_the_store_is_closed_reads_fail_as_the_stores(
    opened: Callable[[], DiskSlice], threads: ThreadPoolExecutor
) -> None:
    slice_ = opened()
    threads.shutdown()
    with pytest.raises(StoreError, match="closed"):
        await slice_.read(0, 10)


def test_the_descriptor_lives_as_long_as_its_last_holder(
    opened: Callable[[], DiskSlice], file: Path
) -> None:
    slices = OpenSlices(2)
    reader = opened()
    descriptor = reader._fd
    slices.keep(KEYS[0], reader)
    slices.drop(KEYS[0], 4096)
    file.unlink()
    assert (slices.get(KEYS[0]), slices.held(KEYS[0])) == (None, None)
    assert slices.unlinked == 4096
    assert reader._read(0, len(DATA)) == DATA
    del reader
    assert not is_open(descriptor)
    assert slices.unlinked == 0


def test_what_nobody_reads_is_closed_at_once(opened: Callable[[], DiskSlice]) -> None:
    slices = OpenSlices(2)
    slices.keep(KEYS[0], opened())
    descriptor = slices.get(KEYS[0])._fd  # type: ignore[union-attr]
    slices.drop(KEYS[0], 4096)
    assert not is_open(descriptor)
    assert slices.unlinked == 0


def test_the_least_recently_used_is_closed_first(opened: Callable[[], DiskSlice]) -> None:
    slices = OpenSlices(2)
    for key in KEYS[:2]:
        slices.keep(key, opened())
    slices.get(KEYS[0])
    slices.keep(KEYS[2], opened())
    assert [slices.get(key) is not None for key in KEYS] == [True, False, True, False]


def test_one_that_is_out_but_still_read_is_found_again(opened: Callable[[], DiskSlice]) -> None:
    slices = OpenSlices(1)
    reader = opened()
    slices.keep(KEYS[0], reader)
    slices.keep(KEYS[1], opened())
    assert slices.get(KEYS[0]) is None
    assert slices.held(KEYS[0]) is reader
    del reader
    assert slices.held(KEYS[0]) is None


def test_cleared_it_holds_nothing(opened: Callable[[], DiskSlice]) -> None:
    slices = OpenSlices(1)
    slices.keep(KEYS[0], opened())
    slices.clear()
    assert (slices.get(KEYS[0]), slices.held(KEYS[0])) == (None, None)
