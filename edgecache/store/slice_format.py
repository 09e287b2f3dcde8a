"""What a slice is on disk: a header that says what it is, then its bytes.

Rule of this module: pure, and nothing is ever parsed. The header that a slice must have is made
again from what is asked for and compared whole, so that a slice of another key, version, number,
slice size or format, a cut one and a flipped bit are all the same thing: not this slice.

    magic      8 bytes   ECSLICE + LF: a file whose line ends were "repaired" does not match
    format     u16       FORMAT; any change of this layout makes it another
    lengths    3 x u16   of the origin's name, the key and the ETag, in UTF-8
    slice size u64       without it, number 1 of two slice sizes could pass for one another
    number     u64
    complete   u64       the object's length
    data       u64       the slice's length
    checksums  u64 each  XXH3-64 of each part of the data
    origin's name, key, ETag, data

A checksum that is wrong itself fits no part, so that nothing need vouch for the checksums.
"""

from collections.abc import Iterator
from struct import Struct

from xxhash import xxh3_64_digest

from edgecache.core.model import ObjectMeta

FORMAT = 2
MAGIC = b"ECSLICE\n"
FIXED = Struct("<8s4H4Q")
# What has a checksum of its own. To verify one takes some microseconds, so that a slice is opened
# in tens of them however long it is.
PART = 2**16
SUM = 8  # bytes

Buffer = bytes | bytearray | memoryview


def encode_header(meta: ObjectMeta, number: int, slice_size: int, data: Buffer) -> bytes:
    """The header of slice `number` of `meta`'s version, holding `data`."""
    checksums = b"".join(map(checksum, parts(data)))
    return _header(meta, number, slice_size, len(data), checksums)


def _header(meta: ObjectMeta, number: int, slice_size: int, length: int, checksums: bytes) -> bytes:
    names = [text.encode() for text in (meta.key.origin, meta.key.key, meta.etag)]
    lengths = map(len, names)
    fixed = FIXED.pack(MAGIC, FORMAT, *lengths, slice_size, number, meta.length, length)
    return b"".join((fixed, checksums, *names))


def header_length(meta: ObjectMeta, length: int) -> int:
    """Of a slice of `length` bytes. Depends on nothing else but the names, so that a slice's place
    in its file is known unread."""
    names = (meta.key.origin, meta.key.key, meta.etag)
    return FIXED.size + -(-length // PART) * SUM + sum(len(text.encode()) for text in names)


def parts(data: Buffer) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), PART):
        yield view[start : start + PART]


def checksum(part: Buffer) -> bytes:
    return xxh3_64_digest(part)[::-1]  # little-endian, as all of the header


def checksums_of(
    head: Buffer, meta: ObjectMeta, number: int, slice_size: int, length: int
) -> bytes | None:
    """Of all parts, if `head` begins that slice of `length` bytes; None: it does not."""
    start = header_length(meta, length)
    checksums = bytes(memoryview(head)[FIXED.size :][: -(-length // PART) * SUM])
    if memoryview(head)[:start] != _header(meta, number, slice_size, length, checksums):
        return None
    return checksums


def fits(part: Buffer, checksums: bytes, number: int) -> bool:
    """Whether it is part `number` of the slice."""
    return checksum(part) == checksums[number * SUM : (number + 1) * SUM]


def verify(blob: Buffer, meta: ObjectMeta, number: int, slice_size: int, length: int) -> bool:
    """Whether `blob`, a whole file, is that slice of `length` bytes and nothing but that slice."""
    checksums = checksums_of(blob, meta, number, slice_size, length)
    data = memoryview(blob)[header_length(meta, length) :]
    return checksums is not None and checksums == b"".join(map(checksum, parts(data)))
