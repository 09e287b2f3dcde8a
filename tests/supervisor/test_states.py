"""What children are seen to do, from any process."""

import signal

import pytest

from edgecache.supervisor.states import NEVER_ENDED, NOT_FORKED, ChildState, States, describe_end


def exited(code: int) -> int:
    return code << 8


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (exited(0), "exit 0"),
        (exited(70), "exit 70"),
        (signal.SIGSEGV | 0x80, "SIGSEGV"),  # with a core dump
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}"),
        (NEVER_ENDED, "never ended"),
        (NOT_FORKED, "not forked"),
    ],
)
def test_ends_have_words(status: int, text: str) -> None:
    assert describe_end(status) == text


def test_children_start_with_nothing_but_their_names() -> None:
    states = States(["keeper", "worker"])
    assert states.children() == [ChildState(name="keeper"), ChildState(name="worker")]
    assert states.problems(0.0) == []


def test_a_change_is_one_childs_and_leaves_the_rest_of_it() -> None:
    states = States(["keeper", "worker-1", "worker-2"])
    states.change(1, pid=7, starts=1, started=12.5)
    states.change(1, ready=True)
    assert states.child(1) == ChildState(name="worker-1", pid=7, ready=True, starts=1, started=12.5)
    assert [child.pid for child in states.children()] == [0, 7, 0]


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"quick_deaths": 2, "next_start": 104.0}, []),
        ({"next_start": 104.0}, ["worker keeps dying (SIGSEGV), next start in 4 s"]),
        ({"next_start": 103.2}, ["worker keeps dying (SIGSEGV), next start in 4 s"]),
        ({"next_start": 99.0}, ["worker keeps dying (SIGSEGV), next start in 0 s"]),
        ({"pid": 7}, ["worker keeps dying (SIGSEGV), started again"]),
        ({"pid": 7, "ready": True}, []),
    ],
)
def test_three_quick_deaths_in_a_row_are_a_problem_until_it_serves(
    changes: dict[str, float], problems: list[str]
) -> None:
    states = States(["keeper", "worker"])
    states.change(1, **{"status": signal.SIGSEGV, "quick_deaths": 3} | changes)
    assert states.problems(100.0) == problems
