from collections.abc import Callable
from dataclasses import replace

import pytest

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store import slice_format
from edgecache.store.slice_format import (
    FIXED,
    PART,
    SUM,
    checksum,
    checksums_of,
    encode_header,
    fits,
    header_length,
    parts,
    verify,
)
from tests.slices import meta_of

META = replace(meta_of("outputs/Zürich 1.mp4", length=300), etag='"e1"')
NUMBER = 7
SIZE = 2**20
DATA = b"edgecache"
BLOB = encode_header(META, NUMBER, SIZE, DATA) + DATA

# Slices on disks have these bytes. A change of them is another FORMAT, so that old ones are a miss.
GOLDEN = [
    (b"ECSLICE\n", "magic"),
    (b"\x02\x00", "format"),
    (b"\x06\x00\x15\x00\x04\x00", "lengths of the names"),
    (b"\x00\x00\x10\x00\x00\x00\x00\x00", "slice size"),
    (b"\x07\x00\x00\x00\x00\x00\x00\x00", "number"),
    (b"\x2c\x01\x00\x00\x00\x00\x00\x00", "complete length"),
    (b"\x09\x00\x00\x00\x00\x00\x00\x00", "data length"),
    (b"\x57\x45\x6f\xa5\xf6\xed\x59\xac", "XXH3-64"),
    (b"runpod", "origin"),
    (b"outputs/Z\xc3\xbcrich 1.mp4", "key"),
    (b'"e1"', "ETag"),
    (b"edgecache", "data"),
]


def test_golden_bytes() -> None:
    assert b"".join(part for part, _name in GOLDEN) == BLOB
    assert header_length(META, len(DATA)) == len(BLOB) - len(DATA)


def test_what_was_encoded_verifies() -> None:
    assert verify(BLOB, META, NUMBER, SIZE, len(DATA))
    assert verify(memoryview(bytearray(BLOB)), META, NUMBER, SIZE, len(DATA))


@pytest.mark.parametrize("position", range(len(BLOB)))
def test_no_byte_may_differ(position: int) -> None:
    blob = bytearray(BLOB)
    blob[position] ^= 1
    assert not verify(blob, META, NUMBER, SIZE, len(DATA))


@pytest.mark.parametrize("length", [0, 1, 55, 56, len(BLOB) - len(DATA), len(BLOB) - 1])
def test_a_cut_slice_is_wrong(length: int) -> None:
    assert not verify(BLOB[:length], META, NUMBER, SIZE, len(DATA))


def test_a_longer_slice_is_wrong() -> None:
    assert not verify(BLOB + b"\0", META, NUMBER, SIZE, len(DATA))


OTHERS: list[Callable[[ObjectMeta], ObjectMeta]] = [
    lambda meta: replace(meta, key=ObjectKey("other", meta.key.key)),
    lambda meta: replace(meta, key=ObjectKey("runpod", "outputs/other.mp4")),
    lambda meta: replace(meta, key=ObjectKey("runpo", "d" + meta.key.key)),
    lambda meta: replace(meta, etag='"e2"'),
    lambda meta: replace(meta, length=301),
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_slice_of_another_version_is_wrong(
    other: Callable[[ObjectMeta], ObjectMeta],
) -> None:
    assert not verify(BLOB, other(META), NUMBER, SIZE, len(DATA))


def test_a_slice_of_another_number_or_slice_size_is_wrong() -> None:
    assert not verify(BLOB, META, NUMBER + 1, SIZE, len(DATA))
    assert not verify(BLOB, META, NUMBER, SIZE * 2, len(DATA))


def test_a_slice_of_another_format_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_format, "FORMAT", slice_format.FORMAT + 1)
    assert not verify(BLOB, META, NUMBER, SIZE, len(DATA))


def test_what_else_is_known_of_the_object_is_no_part_of_it() -> None:
    """A stored response that was freshened has the same slices."""
    fresher = replace(META, response_time=META.response_time + 3600, headers=())
    assert verify(BLOB, fresher, NUMBER, SIZE, len(DATA))


# Of three parts, the last of which is short.
LONG = bytes(range(256)) * (2 * PART // 256) + b"rest"
LONG_META = replace(META, length=len(LONG))
LONG_HEADER = encode_header(LONG_META, 0, SIZE, LONG)


def test_each_part_has_its_checksum() -> None:
    found = checksums_of(LONG_HEADER, LONG_META, 0, SIZE, len(LONG))
    assert found == b"".join(checksum(LONG[at : at + PART]) for at in (0, PART, 2 * PART))
    assert list(map(len, parts(LONG))) == [PART, PART, 4]
    assert header_length(LONG_META, len(LONG)) == len(LONG_HEADER)
    assert verify(LONG_HEADER + LONG, LONG_META, 0, SIZE, len(LONG))


@pytest.mark.parametrize("at", range(FIXED.size, FIXED.size + 3 * SUM, 5))
def test_a_wrong_checksum_fits_no_part(at: int) -> None:
    header = bytearray(LONG_HEADER)
    header[at] ^= 1
    found = checksums_of(header, LONG_META, 0, SIZE, len(LONG))
    assert found is not None  # they are not known before the data
    right = [fits(part, found, one) for one, part in enumerate(parts(LONG))]
    assert right.count(False) == 1
    assert not verify(header + LONG, LONG_META, 0, SIZE, len(LONG))


@pytest.mark.parametrize("at", [0, PART - 1, PART, 2 * PART, len(LONG) - 1])
def test_no_byte_of_any_part_may_differ(at: int) -> None:
    data = bytearray(LONG)
    data[at] ^= 1
    assert not verify(LONG_HEADER + data, LONG_META, 0, SIZE, len(LONG))


def test_parts_of_one_length_do_not_pass_for_one_another() -> None:
    data = bytearray(LONG)
    data[0] = 1
    header = encode_header(LONG_META, 0, SIZE, data)
    assert verify(header + data, LONG_META, 0, SIZE, len(data))
    swapped = data[PART : 2 * PART] + data[:PART] + data[2 * PART :]
    assert not verify(header + swapped, LONG_META, 0, SIZE, len(data))


@pytest.mark.parametrize("length", range(0, len(LONG_HEADER), 7))
def test_a_header_that_is_cut_is_none(length: int) -> None:
    assert checksums_of(LONG_HEADER[:length], LONG_META, 0, SIZE, len(LONG)) is None
