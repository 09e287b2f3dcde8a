"""What each child is doing, in memory that the parent and all children share.

Rule of this module: only the parent writes. Each number is written whole, a child's numbers are
not: a reader may see it between two of its states.
"""

import math
import mmap
import os
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

# Native and aligned, so that each number is stored at once.
NUMBERS = struct.Struct("@qqqqqdd")
# In place of a status of os.waitpid, which is never negative.
NEVER_ENDED = -1
NOT_FORKED = -2
# So many quick deaths in a row are no accident.
KEEPS_DYING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildState:
    """Times are those of time.monotonic(), which all processes of a machine share."""

    name: str
    pid: int = 0  # 0: none runs
    ready: bool = False
    starts: int = 0
    quick_deaths: int = 0  # in a row
    status: int = NEVER_ENDED  # of its last end, as os.waitpid tells it
    started: float = 0.0
    next_start: float = 0.0

    @property
    def last_end(self) -> str:
        return describe_end(self.status)

    @property
    def keeps_dying(self) -> bool:
        return self.quick_deaths >= KEEPS_DYING and not self.ready

    def problem(self, now: float) -> str:
        """For people; "" if there is none."""
        if not self.keeps_dying:
            return ""
        seconds = max(math.ceil(self.next_start - now), 0)
        then = "started again" if self.pid else f"next start in {seconds} s"
        return f"{self.name} keeps dying ({self.last_end}), {then}"


def describe_end(status: int) -> str:
    """SIGSEGV, or exit 3."""
    if status < 0:
        return "not forked" if status == NOT_FORKED else "never ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {-code}"


class States:
    """To be made before the first fork, with the names of the roles."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._memory = mmap.mmap(-1, NUMBERS.size * len(self.names) + 1)
        for index, name in enumerate(self.names):
            self._write(index, ChildState(name=name))

    def child(self, index: int) -> ChildState:
        pid, ready, *rest = NUMBERS.unpack_from(self._memory, NUMBERS.size * index)
        starts, quick_deaths, status, started, next_start = rest
        return ChildState(
            name=self.names[index],
            pid=pid,
            ready=bool(ready),
            starts=starts,
            quick_deaths=quick_deaths,
            status=status,
            started=started,
            next_start=next_start,
        )

    def children(self) -> list[ChildState]:
        return [self.child(index) for index in range(len(self.names))]

    @property
    def draining(self) -> bool:
        """Whether all are to end."""
        return bool(self._memory[-1])

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._memory[-1] = draining

    def problems(self, now: float) -> list[str]:
        """What an operator should know, at the time.monotonic() of `now`."""
        problems = [problem for state in self.children() if (problem := state.problem(now))]
        return [*problems, *["draining"] * self.draining]

    def change(self, index: int, **changes: float) -> ChildState:
        """For the parent only."""
        state = replace(self.child(index), **changes)  # type: ignore[arg-type]  # by field name
        self._write(index, state)
        return state

    def _write(self, index: int, state: ChildState) -> None:
        _, *numbers = (getattr(state, field.name) for field in fields(state))
        NUMBERS.pack_into(self._memory, NUMBERS.size * index, *numbers)
