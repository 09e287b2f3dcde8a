"""A child as its parent sees it. Rule of this module: nothing here waits."""

import os
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from edgecache.supervisor import birth
from edgecache.supervisor.child import ANSWER, LENGTH, READY, Role


class Process:
    """Until it is reaped, which `ended` is for. `unanswered` counts messages."""

    def __init__(self, name: str, pid: int, control: socket.socket) -> None:
        self.name = name
        self.pid = pid
        self.control = control
        self.ready = False
        self.unanswered = 0
        self.ended = False
        self._sending = b""
        self._waiting: bytes | None = None

    @property
    def listens(self) -> bool:
        return self.control.fileno() >= 0

    @property
    def behind(self) -> bool:
        """Whether there is something for it that its socket has not taken yet."""
        return bool(self._sending)

    def send(self, message: bytes) -> None:
        """As far as its socket takes it; `flush` goes on.

        Where earlier ones wait for a child that does not read, this takes their place.
        """
        frame = LENGTH.pack(len(message)) + message
        if self._waiting is None:
            self.unanswered += 1
        if self._sending:
            self._waiting = frame
        else:
            self._sending = frame
            self.flush()

    def flush(self) -> None:
        try:
            while self._sending:
                sent = self.control.send(self._sending)
                self._sending = self._sending[sent:]
                if not self._sending and self._waiting is not None:
                    self._sending, self._waiting = self._waiting, None
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()

    def hear(self) -> None:
        """Take in what it told."""
        try:
            while told := self.control.recv(4096):
                self.ready = self.ready or READY in told
                self.unanswered -= told.count(ANSWER)
            self.hang_up()
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()

    def hang_up(self) -> None:
        self._sending, self._waiting, self.unanswered = b"", None, 0
        self.control.close()

    def signal(self, number: signal.Signals) -> None:
        """It is not reaped yet, so its pid is no one else's."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def start(role: Role, *, close: Iterable[Callable[[], None]]) -> Process:
    """Fork; the child calls each `close` for what is only the parent's.

    :raises OSError: no process, memory or descriptor is left for it.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    parent = os.getpid()
    birth.flush_output()
    # A signal between the fork and the child's own handlers would be taken for the parent's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            birth.live(role, theirs, parent=parent, close=[*close, ours.close])
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return Process(role.name, pid, ours)
