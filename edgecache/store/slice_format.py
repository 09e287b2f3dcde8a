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
    checksum   u64       XXH3-64 of the data
    origin's name, key, ETag, data
"""

from struct import Struct

from xxhash import xxh3_64_intdigest

from edgecache.core.model import ObjectMeta

FORMAT = 1
MAGIC = b"ECSLICE\n"
FIXED = Struct("<8s4H5Q")

Buffer = bytes | bytearray | memoryview


def encode_header(meta: ObjectMeta, number: int, slice_size: int, data: Buffer) -> bytes:
    """The header of slice `number` of `meta`'s version, holding `data`."""
    names = [text.encode() for text in (meta.key.origin, meta.key.key, meta.etag)]
    fixed = FIXED.pack(
        MAGIC,
        FORMAT,
        *map(len, names),
        slice_size,
        number,
        meta.length,
        len(data),
        xxh3_64_intdigest(data),
    )
    return b"".join((fixed, *names))


def header_length(meta: ObjectMeta) -> int:
    """Depends on nothing but the names, so that a slice's place in its file is known unread."""
    names = (meta.key.origin, meta.key.key, meta.etag)
    return FIXED.size + sum(len(text.encode()) for text in names)


def verify(blob: Buffer, meta: ObjectMeta, number: int, slice_size: int) -> bool:
    """Whether `blob`, a whole file, is that slice and nothing but that slice."""
    view = memoryview(blob)
    start = header_length(meta)
    return view[:start] == encode_header(meta, number, slice_size, view[start:])
