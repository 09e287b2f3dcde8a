"""Who is told when."""

import logging
import socket
from collections.abc import Iterator

import pytest

from edgecache.supervisor.child import Child
from edgecache.supervisor.process import Process
from edgecache.supervisor.reload import Reload

PATIENCE = 5.0


class Family:
    def __init__(self) -> None:
        pairs = [socket.socketpair() for _ in range(3)]
        for end in (end for pair in pairs for end in pair):
            end.setblocking(False)
        self.processes = [Process(f"child-{n}", n, ours) for n, (ours, _) in enumerate(pairs)]
        self.children = [Child(f"child-{n}", theirs) for n, (_, theirs) in enumerate(pairs)]
        self.told: list[int] = []

    def listen(self, *, answers: tuple[int, ...] = (0, 1, 2)) -> list[int]:
        """Which children got a message since the last call."""
        told = [number for number, child in enumerate(self.children) if child.messages()]
        for number in told:
            if number in answers:
                self.children[number].answer()
        for process in self.processes:
            process.hear()
        return told

    def reload(self) -> Reload:
        return Reload(b"config", [self.processes[:1], self.processes[1:]], PATIENCE)


@pytest.fixture
def family() -> Iterator[Family]:
    family = Family()
    yield family
    for process, child in zip(family.processes, family.children, strict=True):
        process.control.close()
        child.control.close()


def test_the_others_are_told_when_the_first_has_answered(family: Family) -> None:
    reload = family.reload()
    assert not reload.advance(100.0)
    assert family.listen() == [0]
    assert not reload.advance(101.0)
    assert family.listen(answers=(1,)) == [1, 2]
    assert not reload.advance(102.0)
    family.children[2].answer()
    family.listen()
    assert reload.advance(103.0)


def test_each_stage_has_its_own_patience(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    reload = family.reload()
    assert not reload.advance(100.0)
    assert reload.until == 105.0
    family.listen(answers=())
    assert not reload.advance(105.0)
    assert reload.until == 110.0
    assert family.listen(answers=(1,)) == [1, 2]
    with caplog.at_level(logging.WARNING):
        assert reload.advance(110.0)
    assert caplog.messages[-1] == "reload not answered name=child-2 pid=2"


def test_who_has_ended_is_neither_told_nor_awaited(family: Family) -> None:
    reload = family.reload()
    assert not reload.advance(100.0)
    for ended in (0, 2):
        family.processes[ended].ended = True
    assert not reload.advance(100.0)
    assert family.listen() == [0, 1]
    assert reload.advance(100.0)


def test_a_late_answer_is_not_one_to_the_next_message(family: Family) -> None:
    first = family.reload()
    first.advance(100.0)
    family.listen(answers=(1, 2))
    first.advance(105.0)
    family.listen()
    assert first.advance(106.0)
    second = family.reload()
    assert not second.advance(107.0)
    family.children[0].answer()  # to the first
    family.processes[0].hear()
    assert not second.advance(107.0)
    family.listen()
    assert not second.advance(107.0)
    assert family.listen() == [1, 2]
    assert second.advance(107.0)


def test_without_children_it_is_over_at_once() -> None:
    assert Reload(b"config", [[], []], PATIENCE).advance(100.0)
