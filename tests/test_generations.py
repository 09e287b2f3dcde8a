"""What a process remembers holds while its object's generation stands, and is even."""

import mmap
import os

from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.model import ObjectKey
from edgecache.generations import MEMORY, SLOTS, Generations

ONE, TWO = ObjectKey("volume", "outputs/a.webp"), ObjectKey("volume", "outputs/b.webp")


def of(generations: Generations, key: ObjectKey) -> int:
    return generations.cells[generations.slot(key)]


def test_a_change_is_seen_at_once_and_the_disk_is_to_be_believed_once_it_is_settled() -> None:
    generations = Generations()
    before = of(generations, ONE)
    settle = generations.begin(ONE)
    during = of(generations, ONE)
    settle()
    after = of(generations, ONE)
    assert (before % 2, during % 2, after % 2) == (0, 1, 0)
    assert len({before, during, after}) == 3


def test_only_the_last_change_of_an_object_settles_it() -> None:
    generations = Generations()
    first, second = generations.begin(ONE), generations.begin(ONE)
    first()
    assert of(generations, ONE) % 2 == 1
    second()
    assert of(generations, ONE) % 2 == 0
    first()
    second()  # what is settled stays so
    assert of(generations, ONE) % 2 == 0


def test_objects_of_one_slot_wait_for_each_other() -> None:
    generations = Generations()
    slot = generations.slot(ONE)
    numbers = (ObjectKey("volume", f"outputs/{number}.webp") for number in range(10 * SLOTS))
    other = next(key for key in numbers if generations.slot(key) == slot)
    first, second = generations.begin(ONE), generations.begin(other)
    first()
    assert generations.cells[slot] % 2 == 1
    second()
    assert generations.cells[slot] % 2 == 0


def test_no_change_settles_a_purge_of_everything() -> None:
    generations = Generations()
    settle = generations.begin(ONE)
    generations.begin_all()
    settle()
    generations.begin(TWO)()
    assert (of(generations, ONE) % 2, of(generations, TWO) % 2) == (1, 1)
    generations.renew()
    assert (of(generations, ONE) % 2, of(generations, TWO) % 2) == (0, 0)
    generations.begin(ONE)()
    assert of(generations, ONE) % 2 == 0


@given(st.lists(st.sampled_from(["begin one", "begin two", "settle", "renew"]), max_size=30))
def test_a_change_never_brings_an_old_number_back(steps: list[str]) -> None:
    generations = Generations()
    seen, settles = [of(generations, ONE)], []
    for step in steps:
        match step:
            case "begin one":
                settles.append(generations.begin(ONE))
            case "begin two":
                settles.append(generations.begin(TWO))
            case "settle" if settles:
                settles.pop(0)()
            case "renew":
                generations.renew()
            case _:
                pass
        if (now := of(generations, ONE)) != seen[-1]:
            seen.append(now)
    assert seen == sorted(set(seen))


def test_renewed_all_hold_for_the_disk_again_but_for_changes_under_way() -> None:
    generations = Generations()
    before = of(generations, TWO)
    late = generations.begin(ONE)
    generations.begin_all()
    assert of(generations, TWO) % 2 == 1
    generations.renew()
    assert of(generations, ONE) % 2 == 1  # its row is not written yet
    assert of(generations, TWO) % 2 == 0
    assert of(generations, TWO) != before
    waiting = of(generations, ONE)
    late()
    assert of(generations, ONE) % 2 == 0
    assert of(generations, ONE) > waiting


def test_other_processes_see_it() -> None:
    memory = mmap.mmap(-1, MEMORY)
    generations = Generations(memory)
    if (child := os.fork()) == 0:
        Generations(memory).begin(ONE)
        os._exit(0)
    os.waitpid(child, 0)
    assert of(generations, ONE) == 1


def test_held_nobody_goes_by_the_disk_whatever_settles() -> None:
    """Changes without end are not remembered one by one."""
    generations = Generations()
    early = generations.begin(ONE)
    generations.hold()
    during = generations.begin(TWO)
    for settle in (early, during):
        settle()
    assert [of(generations, key) % 2 for key in (ONE, TWO)] == [1, 1]
    assert not generations._unsettled
    generations.release()
    late = generations.begin(TWO)
    generations.renew()
    assert [of(generations, key) % 2 for key in (ONE, TWO)] == [0, 1]
    late()
    assert of(generations, TWO) % 2 == 0
