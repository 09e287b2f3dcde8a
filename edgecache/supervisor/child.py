"""What a child has of its parent: a socket, over which messages come and answers go.

Rule of this module: nothing here waits. Parent to child: a length (4 bytes, network order) and so
many bytes. Child to parent: single bytes, READY and ANSWER.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

LENGTH = struct.Struct("!I")
READY = b"r"
ANSWER = b"a"
PIECE = 2**16


@dataclass(frozen=True, slots=True)
class Role:
    """`run` is called in the forked child, and returns its exit status.

    It meets SIGTERM at its default, SIGINT and SIGHUP ignored: a terminal and systemd send these to
    all processes of the group, and the parent says what follows from them.
    """

    name: str
    run: Callable[["Child"], int]


class Child:
    """What a role gets. `control` is non-blocking, and readable when there may be `messages`."""

    def __init__(self, name: str, control: socket.socket) -> None:
        self.name = name
        self.control = control
        self._received = bytearray()

    def ready(self) -> None:
        """Tell the parent that this child serves."""
        self._tell(READY)

    def answer(self) -> None:
        """Tell the parent that its last message was dealt with."""
        self._tell(ANSWER)

    def _tell(self, byte: bytes) -> None:
        with suppress(OSError):  # the parent is gone, which `messages` tells
            self.control.send(byte)

    def messages(self) -> list[bytes]:
        """Those that have come whole.

        :raises EOFError: the parent is gone. On Linux SIGTERM has come too, elsewhere only this:
            stop watching `control`, and end as if SIGTERM had come.
        """
        gone = False
        try:
            while piece := self.control.recv(PIECE):
                self._received += piece
            gone = True
        except BlockingIOError:
            pass
        except ConnectionError:
            gone = True
        messages = list(iter(self._whole_message, None))
        if gone and not messages:
            raise EOFError("the parent is gone")
        return messages

    def _whole_message(self) -> bytes | None:
        if len(self._received) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        message = bytes(self._received[LENGTH.size : end])
        del self._received[:end]
        return message
