import tracemalloc
from collections.abc import Iterator

import pytest

from edgecache.core.ledger import Gone, Ledger
from edgecache.core.model import Removal, SliceKey
from edgecache.core.policies import make_policy
from edgecache.core.policy import GOES_FIRST, Loaded, Popularity
from tests.core.policy_keys import loaded

NOW = 1_700_000_000.0

OLD = [SliceKey("0d" * 16, number) for number in range(3)]
NEW = [SliceKey("ee" * 16, number) for number in range(3)]


def ledger_of(*keys: SliceKey, spare: int = 0) -> Ledger:
    ledger = Ledger(make_policy("lru"), spare=spare)
    for key in keys:
        assert ledger.add(key, 10, budget=1000, now=NOW) == []
    return ledger


def test_a_budget_that_has_shrunk_takes_more_than_the_new_slice_needs() -> None:
    ledger = ledger_of(*OLD)
    gone = ledger.add(NEW[0], 10, budget=20, now=NOW)
    assert gone == [Gone(OLD[0], 10, Removal.EVICTED), Gone(OLD[1], 10, Removal.EVICTED)]
    assert (len(ledger), ledger.size) == (2, 20)


def test_what_was_on_the_disk_is_taken_in_as_far_as_it_fits() -> None:
    ledger = Ledger(make_policy("lru"), spare=0)
    ledger.load([loaded(key, 10, 0, 0.0) for key in OLD])
    gone = ledger.shrink(20)
    assert gone == [Gone(OLD[0], 10, Removal.EVICTED)]
    assert (len(ledger), ledger.size) == (2, 20)


def test_what_does_not_fit_evicts_nothing() -> None:
    ledger = ledger_of(*OLD)
    with pytest.raises(ValueError, match="do not fit"):
        ledger.add(NEW[0], 21, budget=20, now=NOW)
    assert len(ledger) == 3


def test_slices_of_a_superseded_version_go_first_and_are_counted_as_such() -> None:
    ledger = ledger_of(*NEW, *OLD)
    ledger.supersede("0d" * 16, range(3))
    assert ledger.shrink(30) == [Gone(key, 10, Removal.SUPERSEDED) for key in OLD]


def test_a_slice_that_comes_after_its_version_was_superseded_goes_first_too() -> None:
    ledger = ledger_of(NEW[0], *OLD[:2])
    ledger.supersede("0d" * 16, range(2))
    ledger.add(OLD[2], 10, budget=1000, now=NOW)
    assert ledger.shrink(10) == [Gone(key, 10, Removal.SUPERSEDED) for key in OLD]


def test_a_version_that_the_origin_has_again_is_like_any_other_from_then_on() -> None:
    ledger = ledger_of(NEW[0], OLD[0])
    ledger.supersede("0d" * 16, range(1))
    ledger.meta_saved("0d" * 16)
    ledger.add(OLD[1], 10, budget=1000, now=NOW)
    assert [gone.key for gone in ledger.shrink(0)] == [OLD[0], NEW[0], OLD[1]]


def test_superseded_ends_with_the_last_slice() -> None:
    """The object may get its old bytes back: another slice of that version is like any other."""
    ledger = ledger_of(OLD[0])
    ledger.supersede("0d" * 16, range(1))
    ledger.shrink(0)
    ledger.add(OLD[0], 10, budget=100, now=NOW)
    assert ledger.shrink(0) == [Gone(OLD[0], 10, Removal.EVICTED)]


def test_to_supersede_the_unknown_is_nothing() -> None:
    ledger = ledger_of(NEW[0])
    ledger.supersede("0d" * 16, range(1000))
    assert ledger.shrink(0) == [Gone(NEW[0], 10, Removal.EVICTED)]


def test_removed_once() -> None:
    ledger = ledger_of(NEW[0])
    assert ledger.remove(NEW[0], Removal.CORRUPT) == [Gone(NEW[0], 10, Removal.CORRUPT)]
    assert ledger.remove(NEW[0], Removal.CORRUPT) == []
    assert NEW[0] not in ledger


def test_stored_responses_without_a_slice_are_bounded() -> None:
    ledger = Ledger(make_policy("lru"), spare=2)
    for version in ("a", "b", "c", "a", "d"):
        ledger.meta_saved(version)
    assert ledger.spare_excess == 2
    assert ledger.emptied(most=1) == ["b"]
    assert ledger.emptied(most=10) == ["c"]
    assert ledger.emptied(most=10) == []
    assert ledger.spare_excess == 0


def test_a_stored_response_stays_as_long_as_its_version_has_a_slice() -> None:
    ledger = ledger_of(*NEW)
    ledger.meta_saved("ee" * 16)
    ledger.remove(NEW[0], Removal.CORRUPT)
    ledger.shrink(10)
    assert ledger.emptied(most=10) == []
    ledger.shrink(0)
    assert ledger.emptied(most=10) == ["ee" * 16]


def test_the_first_slice_of_a_version_keeps_its_stored_response() -> None:
    ledger = Ledger(make_policy("lru"), spare=1)
    ledger.meta_saved("ee" * 16)
    ledger.add(NEW[0], 10, budget=100, now=NOW)
    ledger.meta_saved("0e")
    ledger.access(NEW[0], NOW)
    assert ledger.emptied(most=10) == []


def test_of_much_that_is_too_much_a_part_at_a_time() -> None:
    keys = [SliceKey("aa" * 16, number) for number in range(100)]
    ledger = ledger_of(*keys)
    assert ledger.count(50) == 5
    assert [one.key for one in ledger.shrink(200, most=16)] == keys[:16]
    assert len(ledger.shrink(200, most=16)) == 16
    assert len(ledger.shrink(200, most=1000)) == 48
    assert ledger.shrink(200, most=16) == []
    assert Ledger(make_policy("lru"), spare=0).count(50) == 0


def test_the_age_is_the_policy_s() -> None:
    ledger = Ledger(make_policy("lfuda"), spare=0)
    ledger.load([loaded(key, 10, 1, 7.0) for key in OLD], 5.0)
    assert ledger.age == 5.0
    ledger.shrink(0)
    assert ledger.age == 7.0


def test_a_version_is_superseded_after_a_restart_too() -> None:
    ledger = Ledger(make_policy("lru"), spare=0)
    old = [loaded(key, 10, 1, GOES_FIRST) for key in OLD]
    assert ledger.load([loaded(NEW[0], 10, 1, 1.0), *old]) == 4
    assert ledger.shrink(10) == [Gone(key, 10, Removal.SUPERSEDED) for key in OLD]


@pytest.mark.parametrize("numbers", [[0], [2], [0, 1], [1, 0], [1, 2], [2, 0, 1]])
def test_a_version_is_known_by_any_slice(numbers: list[int]) -> None:
    """Those with their first slice only, the most, are not counted apart."""
    added = ledger_of(*(OLD[number] for number in numbers))
    again = Ledger(make_policy("lru"), spare=0)
    again.load([loaded(OLD[number], 10, 0, 0.0) for number in numbers])
    for ledger in (added, again):
        for left in range(len(numbers), 0, -1):
            assert ledger.has_version("0d" * 16)
            assert ledger.has_half("0d" * 16, 10, 20 * left)
            assert not ledger.has_half("0d" * 16, 10, 20 * left + 1)
            ledger.remove(OLD[numbers[left - 1]], Removal.CORRUPT)
        assert not ledger.has_version("0d" * 16)
        assert ledger.emptied(most=10) == ["0d" * 16]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_slice_takes_little_memory_in_all_books(most: int) -> None:
    """200 bytes are asked for. Objects of up to so many slices; of 20,000 slices."""

    def slices(count: int) -> Iterator[Loaded]:
        for number in range(count):
            version = f"{number // most * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
            yield loaded(SliceKey(version, number % most), 2**20, 1, number % 7 + 1.0)

    def held(count: int) -> int:
        tracemalloc.start()
        try:
            ledger = Ledger(make_policy("lfuda"), spare=0)
            ledger.load(slices(count))
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    # So many that the tables of the dictionary are as full as with a million.
    assert held(31_250) - held(15_625) < 175 * 15_625


def test_half_of_the_room_is_told_by_slices() -> None:
    ledger = ledger_of(*OLD)
    assert ledger.has_half("0d" * 16, 10, 60)
    assert not ledger.has_half("0d" * 16, 10, 61)
    assert not ledger.has_half("ee" * 16, 10, 60)


def test_what_the_policy_knows_is_passed_on() -> None:
    ledger = ledger_of(OLD[0])
    ledger.access(OLD[0], NOW + 1, 2)
    assert ledger.popularity(OLD[0]) == Popularity(3, NOW + 1)
    assert list(ledger.changed()) == [(OLD[0], 3, NOW + 1)]
    assert list(ledger.changed()) == []
    assert [ledger.admits(OLD[1], 2**20), ledger.admits(OLD[1], 2**20)] == [False, True]
