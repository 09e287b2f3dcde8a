import random

from edgecache.core import ghosts
from edgecache.core.ghosts import Ghosts


def test_a_count_is_given_back_once() -> None:
    memory = Ghosts()
    memory.add(7, 9, most=1000)
    assert memory.knows(7, most=1000)
    assert [memory.take(7, most=1000), memory.take(7, most=1000)] == [9, 0]
    assert not memory.knows(7, most=1000)


def test_a_count_has_a_limit() -> None:
    memory = Ghosts()
    memory.add(7, 99, most=1000)
    assert memory.take(7, most=1000) == 15


def test_a_key_that_goes_again_has_its_last_count() -> None:
    memory = Ghosts()
    memory.add(7, 9, most=1000)
    memory.add(7, 2, most=1000)
    assert [memory.take(7, most=1000), memory.take(7, most=1000)] == [2, 0]


def test_only_so_many_are_known() -> None:
    memory = Ghosts()
    for key in range(2000):
        memory.add(key, 1, most=1000)
    assert not any(memory.take(key, most=1000) for key in range(1000))


def test_most_of_those_that_should_be_known_are() -> None:
    """Slices of many versions, as neighbouring numbers and alone."""
    choose = random.Random(1)
    memory = Ghosts()
    keys = [choose.getrandbits(128) << 32 | number for _ in range(2500) for number in (0, 1, 2, 3)]
    for key in keys:
        memory.add(key, 3, most=10_000)
    known = [memory.take(key, most=10_000) for key in keys]
    assert set(known) == {0, 3}
    assert sum(map(bool, known)) > 7000


def test_it_grows_with_the_slices_and_begins_anew() -> None:
    memory = Ghosts()
    memory.add(7, 9, most=1000)
    memory.add(8, 9, most=100_000)
    assert [memory.take(key, most=100_000) for key in (7, 8)] == [0, 9]


def test_it_begins_anew_when_it_has_counted_to_the_end() -> None:
    memory = Ghosts()
    memory._sequence = 2**ghosts.SEQUENCE_BITS - 2
    memory.add(7, 9, most=1000)
    memory.add(8, 9, most=1000)
    assert [memory.take(key, most=1000) for key in (7, 8)] == [0, 9]
