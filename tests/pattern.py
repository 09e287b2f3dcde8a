"""Bodies of any size without memory. Rule of this module: a byte is a function of its position."""

import random
from functools import lru_cache
from hashlib import sha256
from typing import Protocol

PERIOD = 1_000_003  # prime, so no two slices of 2^n bytes within 10^6 slices hold the same bytes
PIECE = 8 * 2**20


class ByteSource(Protocol):
    @property
    def length(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes: ...


class Bytes:
    """Bytes as a ByteSource."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def read(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]


@lru_cache(maxsize=8)
def block(seed: int) -> memoryview:
    """Three periods, so that any read of up to two (more than 1 MiB) is one slice of it."""
    return memoryview(random.Random(seed).randbytes(PERIOD) * 3)


class Pattern:
    """`length` pseudo-random bytes; `seed` names the version."""

    def __init__(self, length: int, seed: int = 0) -> None:
        self.length = length
        self.seed = seed

    def __repr__(self) -> str:
        return f"Pattern({self.length}, seed={self.seed})"

    def __len__(self) -> int:
        return self.length

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        stop = self.length if stop is None else min(stop, self.length)
        periods = block(self.seed)
        pieces = []
        while start < stop:
            offset = start % PERIOD
            pieces.append(periods[offset : offset + min(stop - start, 2 * PERIOD)])
            start += len(pieces[-1])
        return b"".join(pieces)

    def digest(self) -> str:
        """SHA-256 of all of it, in hex."""
        digest = sha256()
        for start in range(0, self.length, PIECE):
            digest.update(self.read(start, start + PIECE))
        return digest.hexdigest()
