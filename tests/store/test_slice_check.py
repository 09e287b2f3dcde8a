"""A file says by itself whether it is the slice that it names, and no other."""

from dataclasses import replace

import pytest

from edgecache.core.model import ObjectMeta
from edgecache.store.slice_check import Checked, check
from edgecache.store.slice_format import FIXED, SUM, encode_header
from tests.slices import SIZE, sliced

CLIP = sliced(length=2 * SIZE + 10)
NAMED = len("runpod" + CLIP.meta.key.key + CLIP.meta.etag)


def blob(number: int = 0) -> bytearray:
    data = CLIP.data(number)
    return bytearray(encode_header(CLIP.meta, number, SIZE, data) + data)


def is_named(meta: ObjectMeta | None) -> bool:
    return meta is not None and meta.names_same(CLIP.meta)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_slice(number: int) -> None:
    found = check(blob(number), number, SIZE)
    assert found.why == ""
    assert is_named(found.meta)


@pytest.mark.parametrize("at", [*range(FIXED.size + SUM + NAMED + 1), -1])
def test_no_flipped_bit_passes(at: int) -> None:
    """It is found, or the slice is another object's."""
    wrong = blob(2)
    wrong[at] ^= 1
    found = check(wrong, 2, SIZE)
    assert found.why or not is_named(found.meta)


@pytest.mark.parametrize("length", [0, 7, FIXED.size - 1, FIXED.size, FIXED.size + SUM + 20, -1])
def test_no_cut_file_passes(length: int) -> None:
    assert check(blob()[:length], 0, SIZE).why


def test_nothing_may_follow() -> None:
    assert check(blob() + b"\0", 0, SIZE).why == "it has another length"


def test_zeros_are_no_slice() -> None:
    assert check(bytes(SIZE), 0, SIZE) == Checked("its header is not one", None)


def test_what_is_another_slice() -> None:
    for number in (1, 2, 3):
        assert check(blob(), number, SIZE).why
    assert check(blob(), 0, 2 * SIZE).why
    other = replace(CLIP.meta, etag='"v2"')
    data = CLIP.data()
    assert not is_named(check(encode_header(other, 0, SIZE, data) + data, 0, SIZE).meta)


def test_names_that_are_no_text() -> None:
    wrong = blob()
    wrong[FIXED.size + SUM] = 0xFF
    assert check(wrong, 0, SIZE) == Checked("its header is not one", None)
