"""Memory is used again, unless somebody still needs what is in it."""

from edgecache.scratch import MOST_SPARE, Scratch


def test_memory_is_used_again() -> None:
    scratch = Scratch()
    first = scratch.take(100)
    assert scratch.take(60).obj is first.obj
    assert len(scratch.take(60)) == 60


def test_what_is_left_stays_as_it_was() -> None:
    scratch = Scratch()
    left = scratch.take(100)
    left[:] = bytes(range(100))
    scratch.leave()
    scratch.take(100)[:] = b"x" * 100
    assert bytes(left) == bytes(range(100))


def test_a_small_answer_does_not_hold_the_memory_of_a_large_one() -> None:
    scratch = Scratch()
    large = scratch.take(100 + MOST_SPARE + 1)
    small = scratch.take(100)
    assert small.obj is not large.obj
    assert len(memoryview(small.obj)) == 100


def test_more_than_there_is_is_made() -> None:
    scratch = Scratch()
    scratch.take(100)
    assert len(scratch.take(101)) == 101
