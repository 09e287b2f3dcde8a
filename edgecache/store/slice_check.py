"""What is wrong with a slice's file, by its header and its name.

Rule of this module: pure. A header is believed only where the header made again from it is the
same; and that it is of the version that the file is named after is for the stored response of that
version to say. So a server has no use for this, and nobody serves by it.
"""

from typing import NamedTuple

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.slice_format import (
    FIXED,
    FORMAT,
    MAGIC,
    PART,
    SUM,
    Buffer,
    header_length,
    verify,
)

# A header's three names have lengths of 16 bits.
MOST_NAMES = 3 * (2**16 - 1)


def most_length(slice_size: int) -> int:
    """Of a slice's file."""
    return FIXED.size + -(-slice_size // PART) * SUM + MOST_NAMES + slice_size


class Checked(NamedTuple):
    """`why` is "" for a slice that is right; `meta` has what its header names, if it has one."""

    why: str
    meta: ObjectMeta | None


def check(blob: Buffer, number: int, slice_size: int) -> Checked:
    """Whether `blob`, a whole file, is slice `number` of the object that it names."""
    if (meta := described(blob)) is None:
        return Checked("its header is not one", None)
    length = min(slice_size, meta.length - number * slice_size)
    if len(blob) != header_length(meta, length) + length:
        return Checked("it has another length", meta)
    if not verify(blob, meta, number, slice_size, length):
        return Checked("its checksum or number is another", meta)
    return Checked("", meta)


def described(blob: Buffer) -> ObjectMeta | None:
    """Of the version that the header speaks of, what names it."""
    view = memoryview(blob)
    if len(view) < FIXED.size:
        return None
    magic, form, *lengths, _size, _number, complete, data = FIXED.unpack_from(view)
    at = FIXED.size + -(-data // PART) * SUM
    if magic != MAGIC or form != FORMAT or len(view) < at + sum(lengths):
        return None
    names = []
    for length in lengths:
        names.append(bytes(view[at : at + length]))
        at += length
    try:
        origin, key, etag = [name.decode() for name in names]
    except UnicodeDecodeError:
        return None
    return ObjectMeta(
        key=ObjectKey(origin, key),
        etag=etag,
        origin_etag="",
        length=complete,
        last_modified=None,
        date=None,
        request_time=0.0,
        response_time=0.0,
        headers=(),
    )
