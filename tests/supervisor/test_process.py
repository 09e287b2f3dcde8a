"""The parent's end of the socket. Forks are tested in test_family."""

import errno
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.supervisor.child import Child, Role
from edgecache.supervisor.process import Process, start

LARGE = os.urandom(2_000_000)


@pytest.fixture
def pair() -> Iterator[tuple[Process, Child]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield Process("worker", 0, ours), Child("worker", theirs)
    ours.close()
    theirs.close()


def read_all(process: Process, child: Child) -> list[bytes]:
    messages = child.messages()
    while process.behind:
        process.flush()
        messages += child.messages()
    return messages


def test_readiness_and_answers_are_heard(pair: tuple[Process, Child]) -> None:
    process, child = pair
    process.send(b"config")
    process.hear()
    assert (process.ready, process.unanswered) == (False, 1)
    assert child.messages() == [b"config"]
    child.ready()
    child.answer()
    process.hear()
    assert (process.ready, process.unanswered) == (True, 0)


def test_a_message_larger_than_the_socket_takes_goes_on_later(pair: tuple[Process, Child]) -> None:
    process, child = pair
    process.send(LARGE)
    assert process.behind
    assert read_all(process, child) == [LARGE]


def test_of_those_that_wait_only_the_newest_is_sent(pair: tuple[Process, Child]) -> None:
    process, child = pair
    for message in (LARGE, b"second", b"third", b"newest"):
        process.send(message)
    assert process.unanswered == 2
    assert read_all(process, child) == [LARGE, b"newest"]


def test_a_child_that_closed_its_end_owes_no_answer(pair: tuple[Process, Child]) -> None:
    process, child = pair
    process.send(LARGE)
    child.control.close()
    process.flush()
    assert (process.listens, process.behind, process.unanswered) == (False, False, 0)
    process.send(b"more")
    process.hear()
    assert process.unanswered == 0


def test_an_end_is_heard(pair: tuple[Process, Child]) -> None:
    process, child = pair
    child.ready()
    child.control.close()
    process.hear()
    assert process.ready
    assert not process.listens


def test_a_fork_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process is left")

    monkeypatch.setattr("os.fork", fork)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BlockingIOError):
        start(Role("worker", lambda _: 0), close=())
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
