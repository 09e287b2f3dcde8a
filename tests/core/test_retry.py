"""Repetitions are a share of the requests, and spread out."""

import pytest

from edgecache.core.errors import (
    EdgecacheError,
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.model import ObjectKey
from edgecache.core.retry import (
    KEYS,
    LONGEST_DELAY,
    READ_LATELY,
    RESERVE,
    TRICKLE,
    Failure,
    Readable,
    RetryBudget,
    failure_of,
    retry_delay,
    worth_repeating,
)

KEY = ObjectKey("volume", "outputs/clip.mp4")


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


def answered(status: int, error: EdgecacheError | None = None) -> EdgecacheError:
    error = error or UpstreamError("no")
    error.forward_status = status
    return error


def busy(wish: int = 0) -> EdgecacheError:
    error = UpstreamBusy("busy")
    error.wish = wish
    return answered(503, error)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UpstreamError("refused, or reset"), Failure.CONNECTION),
        (UpstreamTimeout("late"), Failure.TIMEOUT),
        (answered(408, UpstreamTimeout("late")), Failure.TIMEOUT),
        (answered(504, UpstreamTimeout("late")), Failure.TIMEOUT),
        (answered(524, UpstreamTimeout("late")), Failure.TIMEOUT),
        (answered(500), Failure.STATUS),
        (answered(502), Failure.STATUS),
        *[(answered(status), Failure.STATUS) for status in (520, 521, 523, 525, 526, 527)],
        (answered(429, UpstreamBusy("slow down")), Failure.BUSY),
        (busy(), Failure.BUSY),
        (busy(wish=5), Failure.BUSY),
        # What a repetition can't mend
        (busy(wish=6), None),
        (NotAsked("left alone", detail="breaker-open", retry_after=1), None),
        (answered(404, NotFound("no")), None),
        (answered(404), None),  # no such bucket
        (answered(400), None),
        (answered(401, UpstreamDenied("no")), None),
        (answered(403, UpstreamDenied("no")), None),
        (answered(412, VersionChanged("new")), None),
        (answered(416, RangeNotSatisfiable(9)), None),
        (answered(501), None),
        (answered(206), None),  # an answer of no use
        (answered(302), None),
    ],
)
def test_only_what_may_pass_is_repeated(error: EdgecacheError, why: Failure | None) -> None:
    assert worth_repeating(error, was_readable=False) is why


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (busy(wish=60), Failure.BUSY),
        (answered(403, UpstreamDenied("no")), None),
        (answered(404, NotFound("no")), None),
        (NotAsked("left alone", detail="breaker-open", retry_after=1), None),
    ],
)
def test_failures_are_the_origins_not_its_answers(
    error: EdgecacheError, failure: Failure | None
) -> None:
    assert failure_of(error) is failure


@pytest.mark.parametrize(("status", "why"), [(403, Failure.DENIED), (401, None)])
def test_a_key_that_was_readable_a_moment_ago_may_be_again(
    status: int, why: Failure | None
) -> None:
    denied = answered(status, UpstreamDenied("no"))
    assert worth_repeating(denied, was_readable=True) is why


def test_readable_is_a_matter_of_minutes() -> None:
    readable = Readable()
    readable.add(KEY, now=100)
    assert readable.has(KEY, 100 + READ_LATELY - 1)
    assert not readable.has(KEY, 100 + READ_LATELY)
    assert not readable.has(KEY._replace(key="outputs/other"), 100)
    assert not readable.has(KEY._replace(key="outputs/other"), 0)


def test_the_readable_keys_are_bounded_and_the_oldest_go_first() -> None:
    readable = Readable()
    for number in range(KEYS):
        readable.add(KEY._replace(key=str(number)), now=0)
    readable.add(KEY._replace(key="0"), now=1)
    readable.add(KEY, now=1)
    assert len(readable) == KEYS
    assert [readable.has(KEY._replace(key=one), 1) for one in "01"] == [True, False]
