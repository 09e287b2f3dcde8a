"""The parent's signals as something to poll for, so that none is lost between two waits."""

import signal
import socket
from types import FrameType

HEEDED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Caught between `with` and its end, in the main thread."""

    def __enter__(self) -> "Signals":
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, ignore) for number in HEEDED}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)
        self.close()

    def read(self) -> list[signal.Signals]:
        """Those that came since the last call, in their order."""
        try:
            numbers = self.reader.recv(4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in numbers if number in HEEDED]

    def close(self) -> None:
        """In a child, all that is left to do: its handlers are its own by then."""
        self.reader.close()
        self._writer.close()


def ignore(number: int, frame: FrameType | None) -> None:
    """The wakeup descriptor has told already; without a handler nothing would be written to it."""
