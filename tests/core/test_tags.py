"""What the origin's fields, an operator and a purge mean by a tag."""

import json

import pytest

from edgecache.core.tags import LONGEST_TAG, MOST_TAGS, distinct, tag_of, tags_of


@pytest.mark.parametrize(
    ("field", "value", "tags"),
    [
        ("Cache-Tag", "a,b", ("a", "b")),
        ("Cache-Tag", " a , b c ,, ", ("a", "b c")),
        ("Surrogate-Key", "a b\tc  d", ("a", "b", "c", "d")),
        ("Surrogate-Key", "a, b", ("a", "b")),  # two fields, joined
        ("x-amz-meta-cache-tag", "Cat,Dog", ("cat", "dog")),
        ("Cache-Tag", "a,A,a", ("a",)),
        ("Cache-Tag", 'a"b,c\\d,é,ok', ("ok",)),
        ("Content-Type", "a,b", ()),
    ],
)
def test_each_field_has_its_separator(field: str, value: str, tags: tuple[str, ...]) -> None:
    assert tags_of([(field, value)]) == tags


def test_the_fields_add_up() -> None:
    assert tags_of([("cache-tag", "a"), ("surrogate-key", "b a"), ("cache-tag", "c")]) == (
        *("a", "b", "c"),
    )


def test_they_are_bounded() -> None:
    assert len(tags_of([("Surrogate-Key", " ".join(map(str, range(1000))))])) == MOST_TAGS
    assert tag_of("x" * LONGEST_TAG)
    assert not tag_of("x" * (LONGEST_TAG + 1))


@pytest.mark.parametrize("code", range(128))
def test_a_tag_is_written_as_it_is_in_json(code: int) -> None:
    """The index is searched for its text."""
    tag = tag_of(f"a{chr(code)}b")
    assert not tag or json.dumps(tag) == f'"{tag}"'
    assert bool(tag) == (32 <= code < 127 and chr(code) not in ',"\\')


@pytest.mark.parametrize("text", ["", " ", "a\nb", "\x7f", "ä", "a,b"])
def test_what_cannot_be_a_tag_is_none(text: str) -> None:
    assert tag_of(text) == ""
    assert distinct([tag_of(text), "b"]) == ("b",)
