"""Whose turn it is: viewers first, everybody in the end."""

import pytest

from edgecache.core.model import Reason
from edgecache.core.turns import TRICKLE, Priority, Turns, priority_of

VIEWER, REVALIDATION, READAHEAD, WARM = Priority


@pytest.mark.parametrize(
    ("reason", "priority"),
    [
        (Reason.DEMAND, VIEWER),
        (Reason.PASSTHROUGH, VIEWER),
        (Reason.REVALIDATE, REVALIDATION),
        (Reason.READAHEAD, READAHEAD),
        (Reason.WARM, WARM),
    ],
)
def test_what_somebody_waits_for_comes_first(reason: Reason, priority: Priority) -> None:
    assert priority_of(reason) is priority


def full(limit: int = 1, priority: Priority = VIEWER) -> Turns[str]:
    turns: Turns[str] = Turns(limit)
    while turns.take(priority):
        pass
    return turns


def order(turns: Turns[str]) -> list[str]:
    """Who has the single turn, one after the other."""
    names = []
    holder = VIEWER
    while (name := turns.give_back(holder)) is not None:
        names.append(name)
        holder = {"v": VIEWER, "r": REVALIDATION, "a": READAHEAD, "w": WARM}[name[0]]
    return names


def test_as_many_as_there_are_and_no_more() -> None:
    turns: Turns[str] = Turns(2)
    assert [turns.take(VIEWER) for _ in range(3)] == [True, True, False]
    assert turns.give_back(VIEWER) is None
    assert turns.take(VIEWER)


def test_who_came_first_is_next() -> None:
    turns = full()
    for name in ("v1", "v2", "v3"):
        turns.wait(VIEWER, name)
    assert order(turns) == ["v1", "v2", "v3"]


def test_a_viewer_is_next_though_a_hundred_others_came_before() -> None:
    turns = full()
    for number in range(100):
        turns.wait(WARM, f"w{number}")
    turns.wait(READAHEAD, "a")
    turns.wait(REVALIDATION, "r")
    turns.wait(VIEWER, "v")
    assert order(turns)[:4] == ["v", "r", "a", "w0"]


def test_viewers_without_end_let_something_else_through_now_and_then() -> None:
    turns = full()
    turns.wait(WARM, "w")
    turns.wait(READAHEAD, "a")
    for number in range(100):
        turns.wait(VIEWER, f"v{number}")
    names = order(turns)
    # The one that waits longest first, not the one that is more important.
    assert (names.index("w"), names.index("a")) == (TRICKLE - 1, 2 * TRICKLE - 1)


def test_one_that_left_is_not_called() -> None:
    turns = full()
    turns.wait(VIEWER, "v1")
    turns.wait(VIEWER, "v2")
    turns.leave(VIEWER, "v1")
    assert order(turns) == ["v2"]
    assert (turns.taken, turns.waiting) == (0, 0)


def test_a_quarter_of_the_turns_is_kept_for_viewers() -> None:
    turns = full(8, READAHEAD)
    assert turns.taken == 6
    assert not turns.take(WARM)
    assert turns.take(REVALIDATION)
    assert turns.take(VIEWER)
    turns.wait(WARM, "w")
    assert turns.give_back(VIEWER) is None  # one is free, but not for that
    assert turns.give_back(READAHEAD) == "w"


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (20, 15)])
def test_at_least_a_quarter_is_also_where_there_are_few(limit: int, most: int) -> None:
    assert full(limit, READAHEAD).taken == most


def test_a_single_turn_is_everybodys() -> None:
    assert Turns[str](1).take(WARM)


def test_all_but_warming_counts_as_viewers() -> None:
    turns: Turns[str] = Turns(4)
    for priority in (VIEWER, REVALIDATION, WARM):
        turns.take(priority)
    turns.wait(READAHEAD, "a")
    turns.wait(WARM, "w")
    assert turns.viewers == 3
    assert repr(turns) == "<Turns 3 of 4 taken, 2 wait>"
