"""An origin that fails is left alone, and tried again by one request at a time."""

from itertools import count

from edgecache.core.breaker import (
    LEAST_PATIENCE,
    LONGEST_PAUSE,
    ORDINARY,
    TRIAL_TAKES,
    WINDOW,
    Breaker,
    BreakerState,
    Window,
)
from edgecache.core.model import ObjectKey

CLOSED, OPEN, HALF_OPEN = BreakerState
KEY = ObjectKey("runpod", "a.png")
others = (ObjectKey("runpod", f"{number}.png") for number in count())


def passed(breaker: Breaker, now: float, key: ObjectKey | None = None) -> int:
    admitted = breaker.admit(now, key or next(others))
    assert admitted is not None
    return admitted


def fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        key = next(others)
        breaker.failed(passed(breaker, now, key), now, key)


def succeed(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeeded(passed(breaker, now), now)


def opened(pause: float = 5) -> Breaker:
    """At second 100."""
    breaker = Breaker(3, pause)
    fail(breaker, 100, 3)
    assert breaker.state(100) is OPEN
    return breaker


def test_so_many_failures_open_it() -> None:
    breaker = Breaker(3, 5)
    fail(breaker, 100, 2)
    assert breaker.state(100) is CLOSED
    fail(breaker, 101)
    assert breaker.state(101) is OPEN
    assert (breaker.refuses(102, KEY), breaker.admit(102, KEY)) == (4, None)


def test_one_object_that_is_asked_for_again_and_again_does_not() -> None:
    breaker = Breaker(10, 5)
    for _ in range(50):
        breaker.failed(passed(breaker, 100), 100, KEY)
        breaker.broke(100, KEY)
    fail(breaker, 100, 5)
    assert breaker.state(100) is CLOSED
    fail(breaker, 100)
    assert breaker.state(100) is OPEN


def test_failures_that_are_less_than_half_of_all_do_not() -> None:
    breaker = Breaker(3, 5)
    succeed(breaker, 100, 7)
    fail(breaker, 100, 6)
    assert breaker.state(100) is CLOSED
    fail(breaker, 100)
    assert breaker.state(100) is OPEN


def test_failures_that_are_long_ago_do_not() -> None:
    breaker = Breaker(3, 5)
    fail(breaker, 100, 2)
    fail(breaker, 100 + WINDOW)
    assert breaker.state(100 + WINDOW) is CLOSED
    fail(breaker, 101 + WINDOW, 2)
    assert breaker.state(101 + WINDOW) is OPEN


class Counted(ObjectKey):
    """Counts how often it is looked at."""

    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return super().__hash__()


def test_a_failure_costs_the_same_however_many_objects_failed() -> None:
    breaker = Breaker(3, 5)
    keys = [Counted("runpod", f"{number}.png") for number in range(1000)]
    for second in range(5):
        succeed(breaker, 100 + second, 300)
        for key in keys[second::5]:
            breaker.failed(passed(breaker, 100 + second), 100 + second, key)
    assert breaker.state(104) is CLOSED
    Counted.looks = 0
    breaker.failed(passed(breaker, 104), 104, keys[0])
    assert Counted.looks < 10


def test_what_is_long_ago_leaves_nothing_behind() -> None:
    window = Window()
    for now in (100.0, 101.0, 101.5):
        window.ended(now)
        window.failed(now, KEY)
        window.failed(now, next(others))
    window.failed(105, KEY)
    seen = [(window.total(now), len(window.failures)) for now in (105.0, 110.0, 111.0, 115.0)]
    assert seen == [((3, 7), 4), ((2, 5), 3), ((0, 1), 1), ((0, 0), 0)]


def test_a_body_that_breaks_is_a_failure_of_a_request_that_was_counted() -> None:
    breaker = Breaker(3, 5)
    succeed(breaker, 100, 6)
    for _ in range(2):
        breaker.broke(100, next(others))
    assert breaker.state(100) is CLOSED
    breaker.broke(100, next(others))
    assert breaker.state(100) is OPEN


def test_after_the_pause_one_trial_closes_it() -> None:
    breaker = opened()
    assert breaker.state(105) is HALF_OPEN
    trial = passed(breaker, 105)
    assert (breaker.admit(105, KEY), breaker.refuses(105, KEY)) == (None, TRIAL_TAKES)
    assert breaker.state(105) is HALF_OPEN
    breaker.succeeded(trial, 106)
    assert breaker.state(106) is CLOSED
    fail(breaker, 106, 2)  # what was before is forgotten
    assert breaker.state(106) is CLOSED


def test_each_trial_that_fails_doubles_the_pause_up_to_a_minute() -> None:
    breaker, now, pauses = opened(), 105.0, []
    for _ in range(6):
        fail(breaker, now)
        pauses.append(breaker.refuses(now, next(others)))
        now += pauses[-1]
    assert pauses == [10, 20, 40, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    succeed(breaker, now)
    fail(breaker, now, 3)
    assert breaker.refuses(now, next(others)) == 5


def test_a_pause_that_is_longer_from_the_start_stays_so() -> None:
    breaker = opened(pause=100)
    fail(breaker, 200)
    assert breaker.refuses(200, KEY) == 100


def test_a_trial_that_was_given_up_leaves_its_place_to_another() -> None:
    breaker = opened()
    breaker.dropped(passed(breaker, 105))
    succeed(breaker, 105)
    assert breaker.state(105) is CLOSED


def test_what_began_before_decides_nothing_while_it_is_open() -> None:
    breaker = Breaker(3, 5)
    early = passed(breaker, 99)
    fail(breaker, 100, 3)
    breaker.succeeded(early, 101)
    breaker.failed(early, 101, KEY)
    breaker.broke(101, KEY)
    breaker.dropped(early)
    assert breaker.refuses(101, KEY) == 4
    trial = passed(breaker, 105)
    breaker.failed(early, 105, KEY)
    breaker.succeeded(early, 105)
    breaker.dropped(early)
    assert breaker.admit(105, KEY) is None
    breaker.succeeded(trial, 105)
    assert repr(breaker) == "<Breaker until=None pause=5 trial=0>"


def test_a_trial_that_outlived_another_says_nothing() -> None:
    breaker = opened()
    given_up = passed(breaker, 105)
    breaker.dropped(given_up)
    passed(breaker, 105)
    breaker.succeeded(given_up, 105)
    assert breaker.state(105) is HALF_OPEN


# Trials that say little


def test_a_trial_that_hangs_leaves_its_place_to_another() -> None:
    breaker = opened(pause=5)
    hung = passed(breaker, 105)
    assert (breaker.refuses(105, KEY), breaker.refuses(109.75, KEY)) == (TRIAL_TAKES, 0.25)
    second = passed(breaker, 110)
    breaker.failed(hung, 111, KEY)  # which says nothing any more
    assert breaker.state(111) is HALF_OPEN
    breaker.succeeded(second, 112)
    assert breaker.state(112) is CLOSED


def test_a_trial_that_hung_and_is_answered_after_all_closes_it() -> None:
    for superseding in ("runs", "failed"):
        breaker = opened(pause=5)
        hung = passed(breaker, 105)
        second = passed(breaker, 110)
        if superseding == "failed":
            breaker.failed(second, 111, KEY)
            assert breaker.state(111) is OPEN
        breaker.succeeded(hung, 112)
        assert breaker.state(112) is CLOSED
        assert breaker.admit(112, KEY) == ORDINARY


def test_of_an_origin_that_hangs_few_trials_run_at_a_time() -> None:
    """They have turns that others wait for, for up to two minutes."""
    breaker, now, began = opened(pause=1), 101.0, []
    while now < 101 + 110:
        if breaker.admit(now, next(others)):
            began.append(now - 101)
        now += 0.5
    assert began == [0, LEAST_PATIENCE, 3 * LEAST_PATIENCE, 7 * LEAST_PATIENCE, 15 * LEAST_PATIENCE]


def test_one_object_that_hangs_again_and_again_is_not_every_trial() -> None:
    breaker = opened(pause=5)
    passed(breaker, 105, KEY)
    assert breaker.admit(110, KEY) is None
    assert breaker.admit(114.9, KEY) is None
    assert breaker.admit(115, KEY)  # if nobody else asks


def test_one_object_that_fails_again_and_again_does_not_lengthen_the_pause() -> None:
    breaker, now, pauses = opened(pause=5), 105.0, []
    for _ in range(5):
        breaker.failed(passed(breaker, now, KEY), now, KEY)
        pauses.append(breaker.refuses(now, next(others)))
        now += breaker.refuses(now, KEY)
    assert pauses == [10, 5, 5, 5, 5]


def test_an_object_whose_trial_failed_lets_others_go_first() -> None:
    breaker = opened(pause=5)
    breaker.failed(passed(breaker, 105, KEY), 105, KEY)
    assert (breaker.refuses(105, next(others)), breaker.refuses(105, KEY)) == (10, 15)
    assert (breaker.admit(115, KEY), breaker.refuses(115, KEY)) == (None, 5)
    succeed(breaker, 115)
    assert breaker.state(115) is CLOSED
    assert breaker.admit(115, KEY) == ORDINARY


def test_a_long_pause_is_not_twice_as_long_for_an_object_whose_trial_failed() -> None:
    breaker = opened(pause=100)
    breaker.failed(passed(breaker, 200, KEY), 200, KEY)
    assert breaker.refuses(200, KEY) == 100 + LEAST_PATIENCE


def test_bad_objects_that_take_turns_do_not_lengthen_the_pause_for_ever() -> None:
    breaker, now, pauses = opened(pause=5), 105.0, []
    bad = [KEY, next(others)]
    for number in range(5):
        key = bad[number % 2]
        breaker.failed(passed(breaker, now, key), now, key)
        pauses.append(breaker.refuses(now, next(others)))
        now += 100
    assert pauses == [10, 20, 5, 5, 5]


def test_it_is_shut_while_it_is_open_or_a_trial_runs() -> None:
    breaker = opened()
    assert [breaker.is_shut(now) for now in (100, 104, 105, 200)] == [True, True, False, False]
    trial = passed(breaker, 105)
    assert [breaker.is_shut(now) for now in (105, 109, 110)] == [True, True, False]
    breaker.dropped(trial)
    assert not breaker.is_shut(106)
    succeed(breaker, 106)
    assert not breaker.is_shut(107)
