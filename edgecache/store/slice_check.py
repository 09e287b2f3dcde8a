"""What is wrong with a slice's file, by its header and its name.

Rule of this module: pure. A header is believed only where the header made again from it is the
same; and that it is of the version that the file is named after is for the stored response of that
version to say. So a server has no use for this, and nobody serves by it.
"""

from typing import NamedTuple

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.slice_format import FIXED, FORMAT, MAGIC, Buffer, header_length, verify

# The longest header: its three names have lengths of 16 bits.
MOST_HEADER = FIXED.size + 3 * (2**16 - 1)


class Checked(NamedTuple):
    """`why` is "" for a slice that is right; `meta` has what its header names, if it has one."""

    why: str
    meta: ObjectMeta | None


def check(blob: Buffer, number: int, slice_size: int) -> Checked:
    """Whether `blob`, a whole file, is slice `number` of the object that it names."""
    if (meta := described(blob)) is None:
        return Checked("its header is not one", None)
    length = min(slice_size, meta.length - number * slice_size)
    if len(blob) != header_length(meta) + length:
        return Checked("it has another length", meta)
    if not verify(blob, meta, number, slice_size):
        return Checked("its checksum or number is another", meta)
    return Checked("", meta)


def described(blob: Buffer) -> ObjectMeta | None:
    """Of the version that the header speaks of, what names it."""
    view = memoryview(blob)
    if len(view) < FIXED.size:
        return None
    magic, form, *lengths, _size, _number, complete, _data, _sum = FIXED.unpack_from(view)
    if magic != MAGIC or form != FORMAT or len(view) < FIXED.size + sum(lengths):
        return None
    names, at = [], FIXED.size
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
