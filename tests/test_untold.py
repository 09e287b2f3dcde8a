from edgecache.core.model import ObjectKey
from edgecache.untold import Untold

KEYS = [ObjectKey("volume", f"{number}.png") for number in range(3)]


def test_what_was_not_told_is_not_believed_until_it_is() -> None:
    untold = Untold()
    settled: list[str] = []
    assert not untold

    def first() -> None:
        settled.append("first")

    assert untold.add(KEYS[0], first)
    assert untold
    assert (KEYS[0] in untold, KEYS[1] in untold) == (True, False)
    assert untold.all() == [(KEYS[0], first)]
    untold.told(KEYS[0], first)
    assert not untold
    assert settled == ["first"]


def test_told_of_a_change_the_disk_knows_nothing_of_the_later_one() -> None:
    untold = Untold()
    untold.add(KEYS[0], first := lambda: None)
    untold.add(KEYS[0], second := lambda: None)
    untold.told(KEYS[0], first)
    assert KEYS[0] in untold
    untold.told(KEYS[0], second)
    assert KEYS[0] not in untold


def test_there_is_no_end_of_objects_but_of_what_is_remembered() -> None:
    untold = Untold(most=2)
    assert [untold.add(key, lambda: None) for key in KEYS] == [True, True, False]
    untold.give_up()
    assert all(key in untold for key in KEYS)
    assert untold.add(KEYS[0], lambda: None)
    assert untold.all() == []
