"""A purge mark comes back as it was, or not at all."""

import pytest

from edgecache.core.marks import Kind, Mark, Target
from edgecache.store.mark_format import (
    FIRST,
    LAST,
    decode_mark,
    decode_marks,
    encode_mark,
    mark_name,
)

MARKS = (
    Mark(1, Target(Kind.ALL)),
    Mark(2, Target(Kind.PREFIX, "outputs/ä 100%_", "runpod"), soft=True),
    Mark(10**15, Target(Kind.TAG, "cat")),
)


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_comes_back(mark: Mark) -> None:
    name = mark_name(mark.number)
    assert FIRST < name < LAST
    assert decode_mark(name, encode_mark(mark)) == mark


def test_their_names_are_in_their_order() -> None:
    names = [mark_name(mark.number) for mark in MARKS]
    assert names == sorted(names)
    assert decode_marks(zip(names, map(encode_mark, MARKS), strict=True)) == MARKS


def test_golden_text() -> None:
    assert encode_mark(MARKS[1]) == (
        '1e8fd424e695205e [2, "prefix", "outputs/\\u00e4 100%_", "runpod", true]'
    )


@pytest.mark.parametrize("text", ["", "x", None, 5, encode_mark(MARKS[0])[1:], "\udcff"])
def test_what_is_damaged_is_no_mark(text: object) -> None:
    with pytest.raises(ValueError, match="mark"):
        decode_mark(mark_name(1), text)


def test_another_marks_text_is_not_its_own() -> None:
    with pytest.raises(ValueError, match="not that"):
        decode_mark(mark_name(3), encode_mark(MARKS[0]))
