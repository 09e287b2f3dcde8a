"""Repetitions are a share of the requests, and spread out."""

import pytest

from edgecache.core.retry import LONGEST_DELAY, RESERVE, TRICKLE, RetryBudget, retry_delay


def taken(budget: RetryBudget, now: float, most: int = 100) -> int:
    return next((n for n in range(most) if not budget.take(now)), most)


def test_a_few_are_allowed_at_once_and_no_more() -> None:
    assert taken(RetryBudget(0.2, now=0), now=0) == RESERVE


def test_after_that_they_are_a_share_of_the_requests() -> None:
    budget = RetryBudget(0.2, now=0)
    taken(budget, now=0)
    for _ in range(25):
        budget.request(now=0)
    assert taken(budget, now=0) == 5


def test_time_brings_some_back_but_never_more_than_the_reserve() -> None:
    budget = RetryBudget(0.2, now=0)
    taken(budget, now=0)
    assert taken(budget, now=4) == 4 * TRICKLE
    assert taken(budget, now=10_000) == RESERVE


def test_a_clock_that_steps_back_brings_nothing() -> None:
    budget = RetryBudget(0.2, now=100)
    taken(budget, now=100)
    assert taken(budget, now=50) == 0


def test_no_share_is_none_at_all() -> None:
    budget = RetryBudget(0, now=0)
    budget.request(now=0)
    assert taken(budget, now=1000) == 0


@pytest.mark.parametrize(("attempt", "most"), [(0, 0.2), (1, 0.4), (2, 0.8), (30, LONGEST_DELAY)])
def test_each_wait_is_twice_as_long_and_spread_over_its_second_half(
    attempt: int, most: float
) -> None:
    assert retry_delay(0.2, attempt, chance=0) == most / 2
    assert retry_delay(0.2, attempt, chance=1) == most
