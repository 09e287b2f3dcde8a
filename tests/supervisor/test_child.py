"""The child's end of the socket."""

import socket
from collections.abc import Iterator

import pytest

from edgecache.supervisor.child import ANSWER, LENGTH, READY, Child


@pytest.fixture
def parent_and_child() -> Iterator[tuple[socket.socket, Child]]:
    parent, control = socket.socketpair()
    control.setblocking(False)
    yield parent, Child("worker", control)
    parent.close()
    control.close()


def framed(message: bytes) -> bytes:
    return LENGTH.pack(len(message)) + message


def test_it_tells_in_single_bytes(parent_and_child: tuple[socket.socket, Child]) -> None:
    parent, child = parent_and_child
    child.ready()
    child.answer()
    assert parent.recv(9) == READY + ANSWER


def test_messages_come_when_they_are_whole(parent_and_child: tuple[socket.socket, Child]) -> None:
    parent, child = parent_and_child
    stream = framed(b"one") + framed(b"") + framed(b"three" * 100)
    messages = []
    for position in range(len(stream)):
        parent.send(stream[position : position + 1])
        messages += child.messages()
    assert messages == [b"one", b"", b"three" * 100]
    assert child.messages() == []


def test_many_at_once_are_many(parent_and_child: tuple[socket.socket, Child]) -> None:
    parent, child = parent_and_child
    parent.send(framed(b"one") + framed(b"two") + framed(b"cut")[:5])
    assert child.messages() == [b"one", b"two"]


def test_what_the_parent_sent_before_its_end_still_comes(
    parent_and_child: tuple[socket.socket, Child],
) -> None:
    parent, child = parent_and_child
    parent.send(framed(b"last"))
    parent.close()
    assert child.messages() == [b"last"]
    with pytest.raises(EOFError):
        child.messages()


def test_an_end_with_something_unread_is_an_end(
    parent_and_child: tuple[socket.socket, Child],
) -> None:
    """ECONNRESET on Linux."""
    parent, child = parent_and_child
    child.ready()
    parent.close()
    with pytest.raises(EOFError):
        child.messages()
    child.answer()  # to nobody
