"""Memory that all processes of a server see. Rule: made before the first of them is forked; each
part has one process that writes it.
"""

from collections.abc import Sequence
from mmap import mmap

from edgecache.board import Board
from edgecache.generations import MEMORY
from edgecache.supervisor import States


class Shared:
    """`names`: of the children, the keeper's first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.generations = mmap(-1, MEMORY)  # the keeper's
        # Each its own, and the parent the last.
        self.boards = [mmap(-1, Board.SIZE) for _ in (*names, "parent")]
        self.states = States(names)  # the parent's
        # The number of the config that the keeper goes by: who goes by another one must not answer.
        self.config = memoryview(mmap(-1, 8)).cast("Q")
        self.removals = memoryview(mmap(-1, 8)).cast("Q")  # how often the keeper unlinked files
