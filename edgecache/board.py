"""Counts that outlive their process: series of numbers in memory that processes share.

Rule of this module: a series is seen whole or not at all. Records are only ever appended, and the
header, which says how far they go, is written last, in one store of eight bytes. Who is killed in
the middle of an append leaves bytes that nobody reads.

    header   bytes of records (uint64), what had no room (float64)
    record   bytes of the name, number of cells, checksum of the two and the name (uint32 each),
             4 bytes of nothing; the name, filled up to 8 bytes; the cells (float64)
"""

import mmap
import struct
import zlib
from collections.abc import Iterator
from typing import Protocol, Self, TypeAlias

HEADER = 16
RECORD = struct.Struct("=III4x")
SIZES = struct.Struct("=II")
CELL = 8
SEPARATOR = b"\xff"  # in no UTF-8 text

# A family and its label values.
Name: TypeAlias = tuple[str, ...]
Memory: TypeAlias = mmap.mmap | bytearray | memoryview


class Cells(Protocol):
    """The numbers of one series: exact up to 2**53.

    `cells[i] += n` is safe among threads: nothing in it lets another thread run.
    """

    def __getitem__(self, index: int, /) -> float: ...

    def __setitem__(self, index: int, value: float, /) -> None: ...


class Nowhere:
    """The cells of a series that found no room: what is added to them is lost, and counted."""

    def __init__(self, dropped: Cells) -> None:
        self._dropped = dropped

    def __getitem__(self, index: int, /) -> float:
        return 0.0

    def __setitem__(self, index: int, value: float, /) -> None:
        self._dropped[0] += 1


class Board:
    """The series in `memory`, which is zeros in the beginning. One process writes, any may read.

    A writer goes on with the counts that are there.
    """

    SIZE = 2**20

    @classmethod
    def private(cls) -> Self:
        """An empty one of this process's own."""
        return cls(mmap.mmap(-1, cls.SIZE))

    def __init__(self, memory: Memory) -> None:
        whole = memoryview(memory).cast("B")
        self._bytes = whole[: len(whole) // CELL * CELL]
        self._cells = self._bytes.cast("d")
        self._header = self._bytes[:CELL].cast("Q")
        self._dropped = self._cells[1:2]
        self._nowhere = Nowhere(self._dropped)
        self._series: dict[Name, memoryview[float]] = {}
        self._known = HEADER
        self._read()

    def cells(self, name: Name, count: int) -> Cells:
        """The cells of `name`, always `count` of them: zeros the first time. For the writer."""
        self._read()
        if name not in self._series:
            self._append(encode(name), count)
            self._read()
        return self._series.get(name, self._nowhere)

    def series(self) -> Iterator[tuple[Name, list[float]]]:
        """Every series with its numbers now."""
        self._read()
        for name, cells in self._series.items():
            yield name, list(cells)

    @property
    def dropped(self) -> float:
        """Additions to series that had no room."""
        return self._dropped[0]

    def _append(self, name: bytes, count: int) -> None:
        start = HEADER + self._header[0]
        first = start + RECORD.size + padded(len(name))
        end = first + CELL * count
        if end > len(self._bytes):
            return
        head = RECORD.pack(len(name), count, checksum(len(name), count, name))
        self._bytes[start:end] = (head + name).ljust(end - start, b"\0")
        self._header[0] = end - HEADER

    def _read(self) -> None:
        """Gets to know the records that are new."""
        end = HEADER + self._header[0]
        while self._known < end:
            length, count, check = RECORD.unpack_from(self._bytes, self._known)
            start = self._known + RECORD.size
            name = bytes(self._bytes[start : start + length])
            if check != checksum(length, count, name):
                return  # some processors show another one the header first: next time
            first = (start + padded(length)) // CELL
            self._series[decode(name)] = self._cells[first : first + count]
            self._known = (first + count) * CELL


def padded(length: int) -> int:
    return -(-length // CELL) * CELL


def checksum(length: int, count: int, name: bytes) -> int:
    return zlib.crc32(name, zlib.crc32(SIZES.pack(length, count)))


def encode(name: Name) -> bytes:
    return SEPARATOR.join(part.encode("utf-8", "surrogatepass") for part in name)


def decode(name: bytes) -> Name:
    return tuple(part.decode("utf-8", "surrogatepass") for part in name.split(SEPARATOR))
