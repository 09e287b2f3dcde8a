"""Memory for bytes that go out at once. Rule: what was taken holds until the next `take`, or for
good once it is left to whoever has it.

A buffer of its own for each answer is a megabyte to be zeroed first, far from the processor: a
tenth of what the answer takes.
"""

# Beyond what is asked for, so that small answers do not pin the memory of large ones.
MOST_SPARE = 2**16


class Scratch:
    def __init__(self) -> None:
        self._memory = bytearray()

    def take(self, length: int) -> memoryview:
        """So many bytes, whatever they are."""
        if not length <= len(self._memory) <= length + MOST_SPARE:
            self._memory = bytearray(length)
        return memoryview(self._memory)[:length]

    def leave(self) -> None:
        """Somebody still needs what was taken."""
        self._memory = bytearray()
