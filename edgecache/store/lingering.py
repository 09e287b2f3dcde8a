"""What other processes may still have open of the files that are gone. Rule: counted, not seen;
no timers: whoever asks finds what is over.
"""

import time
from collections import deque
from collections.abc import Callable


class Lingering:
    def __init__(
        self,
        seconds: float,
        *,
        on_removal: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds`: for how long at most; 0: there are no other processes. `on_removal` is called
        when files are gone."""
        self._seconds = seconds
        self._on_removal = on_removal
        self._clock = clock
        self._ends: deque[tuple[float, int]] = deque()
        self._size = 0

    def add(self, size: int) -> None:
        """Files of that size have just been removed."""
        if size:
            self._ends.append((self._clock() + self._seconds, size))
            self._size += size
        self._on_removal()

    @property
    def size(self) -> int:
        """Bytes."""
        while self._ends and self._ends[0][0] <= self._clock():
            self._size -= self._ends.popleft()[1]
        return self._size
