import pytest

from edgecache.core.ledger import Gone, Ledger
from edgecache.core.model import Removal, SliceKey

OLD = [SliceKey("old", number) for number in range(3)]
NEW = [SliceKey("new", number) for number in range(3)]


def ledger_of(*keys: SliceKey, spare: int = 0) -> Ledger:
    ledger = Ledger(spare=spare)
    for key in keys:
        assert ledger.add(key, 10, budget=1000) == []
    return ledger


def test_a_budget_that_has_shrunk_takes_more_than_the_new_slice_needs() -> None:
    ledger = ledger_of(*OLD)
    gone = ledger.add(NEW[0], 10, budget=20)
    assert gone == [Gone(OLD[0], 10, Removal.EVICTED), Gone(OLD[1], 10, Removal.EVICTED)]
    assert (len(ledger), ledger.size) == (2, 20)


def test_what_was_on_the_disk_is_taken_in_as_far_as_it_fits() -> None:
    ledger = Ledger(spare=0)
    gone = ledger.load([(key, 10) for key in OLD], budget=20)
    assert gone == [Gone(OLD[0], 10, Removal.EVICTED)]
    assert (len(ledger), ledger.size) == (2, 20)


def test_what_does_not_fit_evicts_nothing() -> None:
    ledger = ledger_of(*OLD)
    with pytest.raises(ValueError, match="do not fit"):
        ledger.add(NEW[0], 21, budget=20)
    assert len(ledger) == 3


def test_slices_of_a_superseded_version_go_first_and_are_counted_as_such() -> None:
    ledger = ledger_of(*NEW, *OLD)
    ledger.supersede("old", range(3))
    assert ledger.shrink(30) == [Gone(key, 10, Removal.SUPERSEDED) for key in OLD]


def test_superseded_ends_with_the_last_slice() -> None:
    """The object may get its old bytes back: another slice of that version is like any other."""
    ledger = ledger_of(OLD[0])
    ledger.supersede("old", range(1))
    ledger.shrink(0)
    ledger.add(OLD[0], 10, budget=100)
    assert ledger.shrink(0) == [Gone(OLD[0], 10, Removal.EVICTED)]


def test_to_supersede_the_unknown_is_nothing() -> None:
    ledger = ledger_of(NEW[0])
    ledger.supersede("old", range(1000))
    assert ledger.shrink(0) == [Gone(NEW[0], 10, Removal.EVICTED)]


def test_removed_once() -> None:
    ledger = ledger_of(NEW[0])
    assert ledger.remove(NEW[0], Removal.CORRUPT) == [Gone(NEW[0], 10, Removal.CORRUPT)]
    assert ledger.remove(NEW[0], Removal.CORRUPT) == []
    assert NEW[0] not in ledger


def test_stored_responses_without_a_slice_are_bounded() -> None:
    ledger = Ledger(spare=2)
    for version in ("a", "b", "c", "a", "d"):
        ledger.meta_saved(version)
    assert ledger.emptied() == ["b", "c"]
    assert ledger.emptied() == []


def test_a_stored_response_stays_as_long_as_its_version_has_a_slice() -> None:
    ledger = ledger_of(*NEW)
    ledger.meta_saved("new")
    ledger.remove(NEW[0], Removal.CORRUPT)
    ledger.shrink(10)
    assert ledger.emptied() == []
    ledger.shrink(0)
    assert ledger.emptied() == ["new"]


def test_the_first_slice_of_a_version_keeps_its_stored_response() -> None:
    ledger = Ledger(spare=1)
    ledger.meta_saved("new")
    ledger.add(NEW[0], 10, budget=100)
    ledger.meta_saved("other")
    ledger.access(NEW[0])
    assert ledger.emptied() == []
