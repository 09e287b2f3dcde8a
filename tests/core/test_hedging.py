"""A second request is for those that are late, and for a share of all."""

from edgecache.core.hedging import LEAST, MOST_AT_ONCE, WINDOW, Hedging


def after(*seconds: float, share: float = 0.1, requests: int = 20) -> Hedging:
    hedging = Hedging(share)
    for one in seconds:
        hedging.took(one)
    for _ in range(requests):
        hedging.request()
    return hedging


def test_late_is_later_than_95_of_100() -> None:
    assert after(*range(1, 101)).late() == 96


def test_a_few_tell_nothing() -> None:
    assert after(*[1.0] * (LEAST - 1)).late() is None
    assert after(*[1.0] * LEAST).late() == 1


def test_only_the_recent_ones_count() -> None:
    assert after(*[9.0] * WINDOW, *[1.0] * WINDOW).late() == 1


def test_they_are_a_share_of_the_requests() -> None:
    hedging = after(*[1.0] * LEAST, requests=20)
    assert [hedging.take() for _ in range(3)] == [True, True, False]
    assert hedging.late() is None


def test_what_was_not_used_for_long_is_not_used_at_once() -> None:
    hedging = after(requests=10_000)
    assert sum(hedging.take() for _ in range(100)) == MOST_AT_ONCE


def test_no_share_is_none_and_keeps_nothing() -> None:
    hedging = after(*[1.0] * LEAST, share=0)
    assert hedging.late() is None
    assert not hedging._recent
