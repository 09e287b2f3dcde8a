from collections.abc import Callable
from dataclasses import replace

import pytest

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store import slice_format
from edgecache.store.slice_format import encode_header, header_length, verify
from tests.slices import meta_of

META = replace(meta_of("outputs/Zürich 1.mp4", length=300), etag='"e1"')
NUMBER = 7
SIZE = 2**20
DATA = b"edgecache"
BLOB = encode_header(META, NUMBER, SIZE, DATA) + DATA

# Slices on disks have these bytes. A change of them is another FORMAT, so that old ones are a miss.
GOLDEN = [
    (b"ECSLICE\n", "magic"),
    (b"\x01\x00", "format"),
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
    assert header_length(META) == len(BLOB) - len(DATA)


def test_what_was_encoded_verifies() -> None:
    assert verify(BLOB, META, NUMBER, SIZE)
    assert verify(memoryview(bytearray(BLOB)), META, NUMBER, SIZE)


@pytest.mark.parametrize("position", range(len(BLOB)))
def test_no_byte_may_differ(position: int) -> None:
    blob = bytearray(BLOB)
    blob[position] ^= 1
    assert not verify(blob, META, NUMBER, SIZE)


@pytest.mark.parametrize("length", [0, 1, 55, 56, len(BLOB) - len(DATA), len(BLOB) - 1])
def test_a_cut_slice_is_wrong(length: int) -> None:
    assert not verify(BLOB[:length], META, NUMBER, SIZE)


def test_a_longer_slice_is_wrong() -> None:
    assert not verify(BLOB + b"\0", META, NUMBER, SIZE)


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
    assert not verify(BLOB, other(META), NUMBER, SIZE)


def test_a_slice_of_another_number_or_slice_size_is_wrong() -> None:
    assert not verify(BLOB, META, NUMBER + 1, SIZE)
    assert not verify(BLOB, META, NUMBER, SIZE * 2)


def test_a_slice_of_another_format_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slice_format, "FORMAT", slice_format.FORMAT + 1)
    assert not verify(BLOB, META, NUMBER, SIZE)


def test_what_else_is_known_of_the_object_is_no_part_of_it() -> None:
    """A stored response that was freshened has the same slices."""
    fresher = replace(META, response_time=META.response_time + 3600, headers=())
    assert verify(BLOB, fresher, NUMBER, SIZE)
