"""Answers to the requests that come most, kept as they go onto the wire.

Rule of this module: an entry holds while its object's generation stands and it is fresh; bytes are
bounded, and what was asked for least recently goes first.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from edgecache.core.answer import hit_head
from edgecache.core.index import StoredResponse
from edgecache.core.model import ObjectKey
from edgecache.core.plan import Plan, whole_plan
from edgecache.generations import Generations
from edgecache.web.exchange import STATUS_LINES
from edgecache.web.own_head import OwnHead

# What an entry takes besides its body: the stored response, its heads, the table's own.
ENTRY = 4096
NOT_MODIFIED = Plan(304)


class HotObject:
    """One object: its stored response and, if it is small, its body."""

    __slots__ = (
        "_origin",
        "_own_head",
        "_rendered",
        "_since",
        "_until",
        "body",
        "generation",
        "slot",
        "stored",
        "uses",
    )

    def __init__(
        self, stored: StoredResponse, slot: int, generation: int, own_head: OwnHead
    ) -> None:
        self.stored = stored
        self.slot = slot
        self.generation = generation
        self.body: bytes | None = None
        self.uses = 0  # of the body, not yet told to the store
        self._own_head = own_head
        self._origin: str | None = None
        self._since = self._until = 0.0
        self._rendered: dict[int, tuple[bytes, str]] = {}

    def rendered(self, status: int, now: float, origin: str | None) -> tuple[bytes, str] | None:
        """(the whole answer, its Cache-Status) for 200 or 304; None: it is not fresh any more."""
        if not (self._since <= now < self._until and origin == self._origin):
            self._rendered.clear()
            if not self._begin(now):
                return None
            self._origin = origin
        return self._rendered.get(status) or self._render(status, now)

    def _begin(self, now: float) -> bool:
        """Finds for how long Age and ttl stay the same."""
        age = self.stored.age(now)
        left = self.stored.lifetime - age
        self._since, self._until = now, now + min(1 - age % 1, left % 1)
        return left > 0

    def _render(self, status: int, now: float) -> tuple[bytes, str]:
        plan = NOT_MODIFIED if status == 304 else whole_plan(self.stored.meta.length)
        head, cache_status = hit_head(self.stored, plan, age=self.stored.age(now))
        text = f"{STATUS_LINES[status]}{head}{self._own_head.lines(self._origin)}\r\n"
        # surrogateescape: a field value keeps the origin's bytes, as aiohttp decoded them.
        wire = text.encode("utf-8", "surrogateescape")
        if status == 200:
            wire += self.body or b""
        found = self._rendered[status] = (wire, cache_status)
        return found

    @property
    def size(self) -> int:
        """Bytes: the body is there twice once it was answered with."""
        return ENTRY + 2 * len(self.body or b"")


class HotTable:
    def __init__(
        self, generations: Generations, own_head: OwnHead, *, limit: int, largest_body: int
    ) -> None:
        """`limit`: bytes of all entries; `largest_body`: bytes of one."""
        self._generations = generations
        self._cells = generations.cells
        self._own_head = own_head
        self._limit = limit
        self._largest_body = largest_body
        self._objects: OrderedDict[ObjectKey, HotObject] = OrderedDict()
        self._used: list[HotObject] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: ObjectKey) -> HotObject | None:
        hot = self._objects.get(key)
        if hot is None:
            return None
        if self._cells[hot.slot] != hot.generation:
            self.remove(key)
            return None
        self._objects.move_to_end(key)
        return hot

    def generation(self, key: ObjectKey) -> tuple[int, int]:
        """(slot, generation), to be asked for before the object is looked up."""
        slot = self._generations.slot(key)
        return slot, self._cells[slot]

    def add(
        self,
        stored: StoredResponse,
        known: tuple[int, int],
        body: Callable[[], bytes] | None = None,
    ) -> None:
        """`known` is what `generation` said; `body` gives all of it, if it is at hand."""
        slot, generation = known
        key = stored.meta.key
        if generation % 2 or self._cells[slot] != generation:
            return  # it has changed meanwhile
        hot = self._objects.get(key)
        if hot is None or hot.generation != generation or hot.stored is not stored:
            self.remove(key)
            hot = HotObject(stored, slot, generation, self._own_head)
        else:
            self.size -= hot.size
        if body is not None and stored.meta.length <= self._largest_body:
            hot.body = body()
        self._objects[key] = hot
        self.size += hot.size
        while self.size > self._limit:
            self.remove(next(iter(self._objects)))

    def remove(self, key: ObjectKey) -> None:
        if (hot := self._objects.pop(key, None)) is not None:
            self.size -= hot.size

    def use(self, hot: HotObject) -> None:
        """Its body was given to a client."""
        if not hot.uses:
            self._used.append(hot)
        hot.uses += 1

    def uses(self) -> Iterator[tuple[StoredResponse, int]]:
        """What was used since the last call, and how often."""
        used, self._used = self._used, []
        for hot in used:
            count, hot.uses = hot.uses, 0
            yield hot.stored, count
