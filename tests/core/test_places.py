from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.places import SHORT, Places


def drained(places: Places) -> list[tuple[int, int]]:
    found = []
    while len(places):
        found.append(places.lowest())
    return found


def test_the_lowest_place_comes_first_and_in_it_who_came_first() -> None:
    places = Places()
    for place, name in [(3, 30), (1, 10), (2, 20), (1, 11), (3, 31)]:
        places.add(place, name)
    assert drained(places) == [(1, 10), (1, 11), (2, 20), (3, 30), (3, 31)]


def test_a_lower_place_that_comes_later_goes_first() -> None:
    places = Places()
    for name in (20, 21, 22):
        places.add(2, name)
    assert places.lowest() == (2, 20)
    places.add(1, 10)
    assert drained(places) == [(1, 10), (2, 21), (2, 22)]


def test_a_list_of_which_half_has_left_is_made_anew() -> None:
    places = Places()
    there = set(range(4 * SHORT))
    for name in sorted(there):
        places.add(1, name)
    for name in range(0, 4 * SHORT, 2):
        there.remove(name)
        places.left(1, there.__contains__)
    assert len(places) == 4 * SHORT
    there.remove(1)
    places.left(1, there.__contains__)
    assert [name for _, name in drained(places)] == sorted(there)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add", "take", "leave"]), st.integers(0, 3)),
    max_size=600,
)


@given(STEPS)
def test_it_agrees_with_a_sorted_list(steps: list[tuple[str, int]]) -> None:
    """Of what is in its place; names that have left may still come out."""
    places, model, number = Places(), list[tuple[int, int]](), 0
    there: set[int] = set()
    for step, place in steps:
        if step == "add":
            places.add(place, number)
            model.append((place, number))
            there.add(number)
            number += 1
        elif model and step == "leave":
            left = model.pop(len(model) * place // 4)
            there.remove(left[1])
            places.left(left[0], there.__contains__)
        elif model:
            found = places.lowest()
            while found[1] not in there:
                found = places.lowest()
            model.sort()
            assert found == model.pop(0)
            there.remove(found[1])
    assert len(places) <= 2 * len(model) + 4 * (SHORT + 1)
