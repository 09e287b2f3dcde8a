"""What may enter, and what is pinned, by settings and object alone."""

import pytest

from edgecache.core.admission import EVERYTHING, Admission
from edgecache.core.model import ObjectKey
from tests.slices import meta_of


@pytest.mark.parametrize(("length", "is_too_large"), [(99, False), (100, False), (101, True)])
def test_larger_objects_pass_by(length: int, is_too_large: bool) -> None:
    meta = meta_of(length=length)
    assert Admission(max_object=100).is_too_large(meta) == is_too_large
    assert not EVERYTHING.is_too_large(meta)


@pytest.mark.parametrize(
    ("key", "is_pinned"),
    [
        (ObjectKey("main", "a/b"), True),
        (ObjectKey("main", "c/d"), True),
        (ObjectKey("main", "b/a"), False),
        (ObjectKey("other", "a/b"), False),
    ],
)
def test_pins_are_beginnings_of_keys_of_an_origin(key: ObjectKey, is_pinned: bool) -> None:
    pins = (ObjectKey("main", "a/"), ObjectKey("main", "c"))
    assert Admission(pins=pins).is_pinned(key) == is_pinned
    assert not EVERYTHING.is_pinned(key)
