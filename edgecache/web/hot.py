"""Answers to the requests that come most, kept as they go onto the wire.

Rule of this module: an entry holds while its object's generation stands and it is fresh; bytes are
bounded, and what was asked for least recently goes first.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from edgecache.core.answer import hit_head
from edgecache.core.index import StoredResponse
from edgecache.core.model import ObjectKey
from edgecache.core.plan import Plan, whole_plan
from edgecache.generations import Generations
from edgecache.store import Bytes
from edgecache.web.exchange import STATUS_LINES
from edgecache.web.own_head import OwnHead

# What an entry takes besides its body: the stored response, its heads, the table's own.
ENTRY = 4096
NOT_MODIFIED = Plan(304)


class Ready:
    """An answer as it goes onto the wire. Of a hot object it is the right one from `since` until
    `until`, while the generation in `slot` stands; of another, for this once."""

    __slots__ = (
        "cache_status",
        "generation",
        "hot",
        "length",
        "pieces",
        "since",
        "slot",
        "status",
        "until",
    )

    def __init__(
        self,
        status: int,
        length: int,
        cache_status: str,
        pieces: Sequence[Bytes],
        hot: "HotObject | None" = None,
    ) -> None:
        """`length` is the body's."""
        self.status = status
        self.length = length
        self.cache_status = cache_status
        self.pieces = pieces
        self.hot = hot
        self.slot = self.generation = 0
        self.since = self.until = 0.0
        if hot is not None:
            self.slot, self.generation = hot.slot, hot.generation
            self.since, self.until = hot.since, hot.until

    def end(self) -> None:
        """Nobody gives it again, and whoever remembers it keeps no bytes of it."""
        self.until = 0.0
        self.pieces = ()
        self.hot = None


class HotObject:
    """One object: its stored response and, if it is small, its body."""

    __slots__ = (
        "_origin",
        "_own_head",
        "_rendered",
        "body",
        "generation",
        "since",
        "slot",
        "stored",
        "until",
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
        self.since = self.until = 0.0
        self._rendered: dict[int, Ready] = {}

    def rendered(self, status: int, now: float, origin: str | None) -> Ready | None:
        """The answer with that status, 200 or 304; None: it is not fresh any more."""
        if not (self.since <= now < self.until and origin == self._origin):
            self.end()
            if not self._begin(now):
                return None
            self._origin = origin
        return self._rendered.get(status) or self._render(status, now)

    def end(self) -> None:
        """What was rendered is not given any more."""
        for ready in self._rendered.values():
            ready.end()
        self._rendered.clear()

    def _begin(self, now: float) -> bool:
        """Finds for how long Age and ttl stay the same."""
        age = self.stored.age(now)
        left = self.stored.lifetime - age
        self.since, self.until = now, now + min(1 - age % 1, left % 1)
        return left > 0

    def _render(self, status: int, now: float) -> Ready:
        plan = NOT_MODIFIED if status == 304 else whole_plan(self.stored.meta.length)
        head, cache_status = hit_head(self.stored, plan, age=self.stored.age(now))
        text = f"{STATUS_LINES[status]}{head}{self._own_head.lines(self._origin)}\r\n"
        # surrogateescape: a field value keeps the origin's bytes, as aiohttp decoded them.
        wire = text.encode("utf-8", "surrogateescape")
        body = self.body or b"" if status == 200 else b""
        pieces = (wire + body,) if body else (wire,)
        ready = self._rendered[status] = Ready(status, len(body), cache_status, pieces, self)
        return ready

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
        self.cells = generations.cells
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
        if self.cells[hot.slot] != hot.generation:
            self.remove(key)
            return None
        self._objects.move_to_end(key)
        return hot

    def generation(self, key: ObjectKey) -> tuple[int, int]:
        """(slot, generation), to be asked for before the object is looked up."""
        slot = self._generations.slot(key)
        return slot, self.cells[slot]

    def add(
        self,
        stored: StoredResponse,
        known: tuple[int, int],
        body: Callable[[], bytes] | None = None,
    ) -> None:
        """`known` is what `generation` said; `body` gives all of it, if it is at hand."""
        slot, generation = known
        key = stored.meta.key
        if generation % 2 or self.cells[slot] != generation:
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
            hot.end()

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
