"""Read-ahead is for readers that wait for the origin, and most of it is read."""

import pytest

from edgecache.core.readahead import (
    ALLOWANCE,
    FIRST,
    MEMORY,
    PAUSE,
    ROW,
    STALL,
    AheadLimits,
    Pace,
    Waste,
)

LIMITS = AheadLimits(slices=32, connections=4)
MIB = 2**20


def read(pace: Pace, slices: int, waited: float = 0.05, taken: float = 0.01, now: float = 0) -> int:
    for _ in range(slices):
        pace.read(waited, taken, now, stored=True)
    return pace.window


# The pace of one reader


def test_one_that_has_just_begun_is_not_fetched_ahead_of() -> None:
    assert read(Pace(LIMITS), ROW - 1) == 0


def test_one_that_waits_for_the_origin_is_fetched_ahead_of_further_and_further() -> None:
    pace = Pace(LIMITS)
    windows = [read(pace, 1) for _ in range(50)]
    assert list(dict.fromkeys(windows)) == [0, FIRST, 2 * FIRST, 4 * FIRST, 32]
    assert pace.run == 8


def test_one_that_the_origin_waits_for_is_not() -> None:
    assert read(Pace(LIMITS), 50, waited=0.05, taken=0.06) == 0


def test_what_is_enough_is_not_made_more() -> None:
    pace = Pace(LIMITS)
    window = read(pace, ROW)
    assert read(pace, 50, waited=0, taken=0.01) == window


def test_stalls_make_it_less_and_nothing_in_the_end() -> None:
    pace = Pace(LIMITS)
    assert read(pace, 50) == 32
    windows = [read(pace, 1, taken=STALL + 0.1) for _ in range(6)]
    assert windows == [16, 8, 4, 2, 1, 0]


def test_a_run_is_a_part_of_it_and_a_slice_at_least() -> None:
    pace = Pace(AheadLimits(slices=32, connections=64))
    read(pace, ROW)
    assert pace.run == 1


def test_what_the_store_does_not_take_is_not_fetched_ahead() -> None:
    pace = Pace(LIMITS)
    read(pace, 50)
    pace.read(0.05, 0.01, 0, stored=False)
    assert pace.window == 0
    assert read(pace, ROW) == FIRST


def test_after_a_failure_there_is_none_for_a_while() -> None:
    pace = Pace(LIMITS)
    read(pace, 50)
    pace.failed(now=100)
    assert pace.window == 0
    assert read(pace, 50, now=100 + PAUSE - 0.1) == 0
    assert read(pace, ROW, now=100 + PAUSE) == FIRST


def test_without_slices_there_is_none() -> None:
    assert read(Pace(AheadLimits(slices=0)), 50) == 0


# What is bought in vain


def bought(share: float = 0.1) -> Waste:
    waste = Waste()
    waste.share = share
    return waste


def test_a_newcomer_gets_an_allowance() -> None:
    assert bought().allows(32 * MIB)
    assert not bought().allows(100 * MIB)


def test_a_share_of_nothing_is_nothing() -> None:
    waste = bought(share=0)
    waste.ask(MEMORY)
    assert not waste.allows(1)


@pytest.mark.parametrize("size", [MIB, 8 * MIB, 32 * MIB])
def test_readers_that_always_leave_waste_a_share_of_the_demand(size: int) -> None:
    waste, lost, demand = bought(), 0, 0
    for _ in range(10_000):
        waste.ask(4 * MIB)
        demand += 4 * MIB
        if waste.allows(size):
            waste.buy(size)
            waste.lose(size)
            lost += size
    assert 0.05 * demand < lost < 0.1 * demand + ALLOWANCE


def test_where_everything_is_wasted_what_is_open_counts_in_full() -> None:
    waste = bought()
    waste.ask(MEMORY)
    while waste.allows(MIB):
        waste.buy(MIB)
        waste.lose(MIB)
    waste.recover(40 * MIB)
    while waste.allows(MIB):
        waste.buy(MIB)
    assert waste.wasted + waste.open < 2 * 0.1 * MEMORY


def test_readers_that_stay_get_ever_more_at_a_time() -> None:
    waste = bought()
    for _ in range(1000):
        waste.buy(8 * MIB)
        waste.serve(8 * MIB)
    assert waste.open == 0
    assert waste.wasted == 0
    assert waste.allows(512 * MIB)


def test_what_was_not_bought_is_given_back() -> None:
    waste = bought()
    waste.buy(50 * MIB)
    assert not waste.allows(50 * MIB)
    waste.give_back(50 * MIB)
    assert waste.allows(50 * MIB)


def test_what_is_read_later_is_no_waste() -> None:
    waste = bought()
    waste.buy(50 * MIB)
    waste.lose(50 * MIB)
    assert not waste.allows(1)
    waste.recover(50 * MIB)
    assert (waste.wasted, waste.served) == (0, 50 * MIB)
    assert waste.allows(MIB)


def test_old_waste_is_forgotten_as_new_demand_comes() -> None:
    waste = bought()
    waste.buy(50 * MIB)
    waste.lose(50 * MIB)
    for _ in range(8 * MEMORY // MIB):
        waste.ask(MIB)
    assert waste.wasted < MIB
