from edgecache.core.failures import Failures
from edgecache.core.model import ObjectKey

NOW = 1_750_000_000.0
A, B, C = (ObjectKey("volume", key) for key in "abc")


def test_a_failure_is_recent_for_a_while() -> None:
    failures = Failures(pause=2)
    assert not failures.is_recent(A, NOW)
    failures.note(A, NOW)
    assert [failures.is_recent(A, NOW + later) for later in (0, 1.9, 2, 99)] == [
        True,
        True,
        False,
        False,
    ]
    assert not failures.is_recent(B, NOW)
    failures.note(A, NOW + 99)
    assert failures.is_recent(A, NOW + 100)


def test_a_clock_that_stepped_back_ends_the_pause() -> None:
    failures = Failures(pause=2)
    failures.note(A, NOW)
    assert not failures.is_recent(A, NOW - 1)


def test_the_memory_is_bounded_and_forgets_what_failed_first() -> None:
    failures = Failures(pause=2, limit=2)
    for key in (A, B, A, C):
        failures.note(key, NOW)
    assert len(failures) == 2
    assert [failures.is_recent(key, NOW) for key in (A, B, C)] == [True, False, True]
