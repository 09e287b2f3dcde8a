from dataclasses import replace
from enum import StrEnum

import pytest

from edgecache.core import model
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta, SliceKey

META = ObjectMeta(
    key=ObjectKey("volume", "outputs/a.png"),
    etag='"v1"',
    origin_etag='W/"v1"',
    length=10,
    last_modified=None,
    date=None,
    request_time=1.0,
    response_time=2.0,
    headers=(),
)


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (5, 4), (-5, -1)])
def test_a_span_that_is_none(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="not a span"):
        ByteSpan(start, stop)


@pytest.mark.parametrize(("start", "stop", "length"), [(0, 0, 0), (7, 7, 0), (3, 10, 7)])
def test_a_span_counts_its_bytes(start: int, stop: int, length: int) -> None:
    assert len(ByteSpan(start, stop)) == length
    assert bool(ByteSpan(start, stop)) == bool(length)


def test_the_name_of_a_version_never_changes() -> None:
    """What is on disk is found by it: another value here is another cache format."""
    assert META.version == "0e9413f2369da6f91710c426fdcc6903"


@pytest.mark.parametrize(
    "other",
    [
        {"key": ObjectKey("other", "outputs/a.png")},
        {"key": ObjectKey("volume", "outputs/b.png")},
        {"etag": '"v2"'},
        {"length": 11},
        {"key": ObjectKey("volume\0outputs", "a.png")},
    ],
)
def test_what_makes_another_version(other: dict[str, object]) -> None:
    assert replace(META, **other).version != META.version  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        {"origin_etag": '"v1"'},
        {"last_modified": 5},
        {"date": 5},
        {"request_time": 9.0, "response_time": 9.0},
        {"headers": (("x", "y"),)},
    ],
)
def test_what_does_not(other: dict[str, object]) -> None:
    assert replace(META, **other).version == META.version  # type: ignore[arg-type]


def test_keys_can_be_kept_in_sets() -> None:
    assert {ObjectKey("a", "b"), ObjectKey("a", "b")} == {("a", "b")}
    assert {SliceKey("v", 1), SliceKey("v", 1), SliceKey("v", 2)} == {("v", 1), ("v", 2)}


@pytest.mark.parametrize(
    "enum", [one for one in vars(model).values() if isinstance(one, type) and one is not StrEnum]
)
def test_enum_values_are_fit_for_labels_and_headers(enum: type) -> None:
    if issubclass(enum, StrEnum):
        for member in enum:
            assert member.value == member.name.lower().replace("_", "-")


def test_bytes_from_before_and_after_a_purge_are_of_two_versions() -> None:
    """Though the origin calls them the same."""
    before = META
    after = replace(before, era=3)
    assert after.version != before.version
    assert after.names_same(before)
    assert not replace(after, etag='"v2"').names_same(before)
    assert replace(before, epoch=3, tags=("cat",), stale=True).version == before.version
