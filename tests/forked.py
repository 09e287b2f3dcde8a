"""Work in a process of its own: forked, so that shared memory is shared."""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Child:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def wait(self) -> int:
        """What became of it: an exit status, or a signal's number, negative."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def kill(self) -> None:
        """It gets no chance to do anything more."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[Child]:
    """Runs `work` in a child, which ends with it and at the latest here."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    child = Child(pid)
    try:
        yield child
    finally:
        if child._status is None:
            child.kill()
            child.wait()
