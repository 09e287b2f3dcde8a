"""Files as far as the kernel has them in memory. Rule of this module: nothing here ever waits for
a disk; what would have to is `Later`, and a thread's work.

For the event loop: to hand a file to a thread and back takes longer than to check what is read of
it here.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from errno import EINVAL, ENOSYS, EPERM

# The most that is read at once: to read and check it takes some tens of microseconds.
MOST = 2**16 + 2**14  # the part of a slice that is verified as it is opened, with a header

OPENAT2 = 437  # its number, everywhere on Linux
AT_FDCWD = -100
# Only by names that are in memory (Linux 5.12): EAGAIN where one is not.
RESOLVE_CACHED = 0x20
# From an older kernel, or a filter of system calls.
UNKNOWN = {ENOSYS, EPERM, EINVAL}
# Linux: read what is in the page cache, do not wait for the disk.
NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)


SystemCall = Callable[[int, int, bytes, object, int], int]


def system_call() -> SystemCall | None:
    """As Python has no function for this one. None: it is not Linux."""
    if sys.platform != "linux":
        return None
    # It does not let other threads run meanwhile: to get the turn back may take milliseconds.
    call = ctypes.PyDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (
        *(ctypes.c_long, ctypes.c_int, ctypes.c_char_p),
        *(ctypes.c_void_p, ctypes.c_size_t),
    )
    return call


class Later(Exception):
    """It can't be done without waiting, or not here, or it failed: a thread finds out."""


class AtOnce:
    """Opens and reads; of one thread, as the buffer is used again and again."""

    def __init__(self, flags: int) -> None:
        """`flags`: for every open."""
        self._how = (ctypes.c_uint64 * 3)(flags, 0, RESOLVE_CACHED)
        self._size = ctypes.sizeof(self._how)
        self._call = system_call()
        self._buffer = memoryview(b"")

    @property
    def opens(self) -> bool:
        """Whether the kernel has the system call, as far as is known."""
        return self._call is not None

    def open(self, path: str) -> int:
        """:raises Later:"""
        if self._call is None:
            raise Later
        descriptor = self._call(OPENAT2, AT_FDCWD, os.fsencode(path), self._how, self._size)
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() in UNKNOWN:
            self._call = None
        raise Later

    def read(self, descriptor: int, length: int) -> memoryview:
        """The first `length` bytes, until the next read.

        :raises Later:
        """
        if length > MOST or not NOWAIT:
            raise Later
        if length > len(self._buffer):
            self._buffer = memoryview(bytearray(MOST))  # a used one costs half of a fresh one
        found = self._buffer[:length]
        try:
            count = os.preadv(descriptor, [found], 0, NOWAIT)
        except OSError as error:
            raise Later from error
        if count < length:
            raise Later
        return found
