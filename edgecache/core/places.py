"""Names in order of place, the lowest first out. Rule of this module: what has left its place stays
in the list until it is come to, or until half of a list has left.

A queue for each place, and a heap of the places: far fewer than names.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable

# A shorter list is not worth being made anew.
SHORT = 64


class Places:
    def __init__(self) -> None:
        self._queues: dict[int, deque[int]] = {}
        self._order: list[int] = []
        self._left: dict[int, int] = {}  # how many names of a queue are not there any more

    def add(self, place: int, name: int) -> None:
        queue = self._queues.get(place)
        if queue is None:
            self._queues[place] = deque([name])
            heapq.heappush(self._order, place)
        else:
            queue.append(name)

    @staticmethod
    def queues() -> defaultdict[int, deque[int]]:
        """For `load`: names by place."""
        return defaultdict(deque)

    def load(self, queues: dict[int, deque[int]]) -> None:
        """All names there are."""
        self._queues = dict(queues)
        self._order = sorted(queues)  # a sorted list is a heap
        self._left = {}

    def lowest(self) -> tuple[int, int]:
        """(place, name) of the one that has been in the lowest place for longest; it is taken out.

        :raises IndexError: there is none.
        """
        while not (queue := self._queues[place := self._order[0]]):
            heapq.heappop(self._order)
            del self._queues[place]
            self._left.pop(place, None)
        return place, queue.popleft()

    def left(self, place: int, is_there: Callable[[int], bool]) -> None:
        """A name has left `place`; `is_there` tells of others whether they are still there."""
        queue = self._queues[place]
        left = self._left[place] = self._left.get(place, 0) + 1
        if left > SHORT and 2 * left > len(queue):
            self._queues[place] = deque(dict.fromkeys(filter(is_there, queue)))
            self._left[place] = 0

    def __len__(self) -> int:
        """Names, those that have left included."""
        return sum(map(len, self._queues.values()))
