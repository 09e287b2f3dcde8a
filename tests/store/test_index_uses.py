"""How much slices were used is in the index, and outlives the process."""

from pathlib import Path

import pytest

from edgecache.core.policy import GOES_FIRST
from edgecache.store.index import SliceIndex
from edgecache.store.index_rows import Found
from tests.store import indexes
from tests.store.indexes import (
    NAMES,
    UNKNOWN,
    reopened,
    rows_of,
    sql,
)

folder = indexes.folder
index = indexes.index


def test_uses_are_kept_in_the_rows(index: SliceIndex) -> None:
    for name in NAMES:
        index.add(name, 100, gone=())
    index.remember([(3, 17.5, NAMES[1]), (9, 1.0, "v2-65536/of/none-0")], 2.5)
    uses = {name: use for name, _, *use in rows_of(index)}
    assert uses == {NAMES[0]: [0, 0.0], NAMES[1]: [3, 17.5], NAMES[2]: [0, 0.0]}


def test_uses_by_another_policy_are_forgotten(index: SliceIndex, folder: Path) -> None:
    index.add(NAMES[0], 100, gone=())
    index.remember([(3, 17.5, NAMES[0])], 2.5)
    index.close()
    other = SliceIndex(folder, 2**30, "lru")
    assert age_of(other) == 0.0
    assert rows_of(other) == [(NAMES[0], 100, *UNKNOWN)]
    other.close()
    assert rows_of(index) == [(NAMES[0], 100, *UNKNOWN)]


@pytest.mark.parametrize(
    "used", ["'x', 1.0", "3, 'x'", "-1, 1.0", "3, 9e999", "3, NULL", "3, -2.0"]
)
def test_a_use_that_nobody_counted_is_unknown(index: SliceIndex, folder: Path, used: str) -> None:
    index.add(NAMES[0], 100, gone=())
    index.close()
    sql(folder, f"UPDATE Cache SET (access_count, access_time) = ({used})")
    assert rows_of(index) == [(NAMES[0], 100, *UNKNOWN)]


def age_of(index: SliceIndex) -> float:
    ages = []

    def take(found: Found) -> int:
        ages.append(found.age)
        return 0

    index.open(take)
    return ages[0]


def test_the_age_is_kept_with_the_uses(index: SliceIndex) -> None:
    assert age_of(index) == 0.0
    index.add(NAMES[0], 100, gone=())
    index.remember([(3, 17.5, NAMES[0])], 2.5)
    assert age_of(index) == 2.5
    assert reopened(index).refused == 0


def test_an_age_that_was_not_written_is_the_least_of_the_priorities(
    index: SliceIndex, folder: Path
) -> None:
    for name in NAMES:
        index.add(name, 100, gone=())
    uses = [(3, 17.5, NAMES[0]), (3, 8.5, NAMES[1]), (3, GOES_FIRST, NAMES[2])]
    index.remember(uses, 2.5)
    index.close()
    for age in ("'x'", "-1.0", "9e999", "NULL"):
        sql(folder, f"UPDATE Settings SET value = {age} WHERE key = 'slice_age'")
        assert age_of(index) == 8.5
        index.close()
