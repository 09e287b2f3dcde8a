"""From the fork to the exit of a child. Rule of this module: a child never returns into what its
parent was doing, whatever happens in it."""

import ctypes
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from edgecache.supervisor.child import Child, Role

log = logging.getLogger("edgecache.supervisor")

# EX_SOFTWARE of sysexits.h: a role raised.
RAISED = 70
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


def live(
    role: Role, control: socket.socket, *, parent: int, close: Iterable[Callable[[], None]]
) -> NoReturn:
    """Be the child: run the role and exit. All signals are blocked when it is called."""
    status = RAISED
    try:
        reset_signals()
        for close_one in close:
            close_one()
        follow(parent)
        set_name(role.name)
        random.seed()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        status = role.run(Child(role.name, control))
    except SystemExit as end:
        status = status_of(end)
    except BaseException:
        log.exception("child failed name=%s", role.name)
    finally:
        try:
            flush_output()
        finally:  # no atexit function and no other `finally` of the parent
            os._exit(status)


def reset_signals() -> None:
    """Before the mask is: a handler of the parent would write to the parent's socket."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def follow(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent dies; where it cannot, `control` tells."""
    prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it died before it was asked
        sys.exit(128 + signal.SIGTERM)


def set_name(name: str) -> None:
    """As `ps -o comm` and `top` show it: 15 bytes."""
    prctl(PR_SET_NAME, name.encode()[:15])


def prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # a C library that hides it
            argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
            ctypes.CDLL(None).prctl(ctypes.c_int(option), argument, *[ctypes.c_ulong(0)] * 3)


def status_of(end: SystemExit) -> int:
    """As Python itself ends a program for it."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")  # in one piece: others write there too
    return 1


def flush_output() -> None:
    """What is buffered at a fork would be written twice, and at os._exit never."""
    for handler in logging.getLogger().handlers:
        with suppress(OSError, ValueError):
            handler.flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed; None
            stream.flush()
