"""Answers that memory has whole, without a wait. Rule: None rather than a guess; there is another
path, whose answer would be the same."""

from collections.abc import Callable, Mapping, Sequence

from edgecache.core.answer import hit_head
from edgecache.core.index import StoredResponse
from edgecache.core.model import ByteSpan, ObjectKey, SliceKey
from edgecache.core.plan import plan_answer
from edgecache.core.ranges import slices_of
from edgecache.request import Hit
from edgecache.scratch import Scratch
from edgecache.store import Bytes, OpenSlice

# Slices that are given to a client at once: as many as an answer may hold in memory.
MOST_AT_HAND = 2


class Hits:
    def __init__(
        self,
        find: Callable[[ObjectKey], StoredResponse | None],
        opened: Callable[[SliceKey], OpenSlice | None],
        *,
        clock: Callable[[], float],
        slice_size: int,
        on_hit: Callable[[ObjectKey, int], None] = lambda _key, _length: None,
    ) -> None:
        """`find` gives a fresh stored response, `opened` an open slice, if they are there; `on_hit`
        is told how many body bytes were given."""
        self._on_hit = on_hit
        self._find = find
        self._opened = opened
        self._clock = clock
        self._slice_size = slice_size
        self._scratch = Scratch()

    def hit(self, key: ObjectKey, headers: Mapping[str, str]) -> Hit | None:
        """The answer to a GET if it is fresh and at hand. Its data hold until the next call, or
        for good after `leave`."""
        stored = self._find(key)
        if stored is None:
            return None
        plan = plan_answer("GET", headers, stored.meta)
        if plan.status == 304:
            data: Sequence[Bytes] | None = ()
        elif len(plan.spans) == 1:
            data = self._at_hand(stored.version, plan.spans[0])
        else:
            return None
        if data is None:
            return None
        if data:
            span = plan.spans[0]
            self._on_hit(key, span.stop - span.start)
        head, status = hit_head(stored, plan, age=stored.age(self._clock()))
        return Hit(plan.status, head, status, data, stored)

    def leave(self) -> None:
        """The data of the last hit are still needed."""
        self._scratch.leave()

    def _at_hand(self, version: str, span: ByteSpan) -> list[Bytes] | None:
        """`span` if it is short and its slices are open and in memory."""
        size = self._slice_size
        numbers = slices_of(span, size)
        if len(numbers) > MOST_AT_HAND:
            return None
        data: list[Bytes] = []
        room = self._scratch.take(len(span))
        for number in numbers:
            opened = self._opened(SliceKey(version, number))
            if opened is None:
                return None
            base = number * size
            start, stop = max(span.start - base, 0), min(span.stop - base, size)
            piece = opened.read_nowait(start, stop, room[: stop - start])
            if piece is None:
                return None
            room = room[stop - start :]
            data.append(piece)
        return data
