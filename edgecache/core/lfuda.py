"""LFUDA-C: least frequently used with dynamic ageing (Arlitt et al. 2000), tuned to save bytes.

    priority = age + (count - 1/2) * (1 + 64 KiB / size)

The lowest goes, and `age` is what the last one had. Counts are of hits at least a minute apart (a
player asks for one slice many times), up to 15 (what was popular once does not stay for ever), and
are remembered of what is gone for a while. The first hit is worth half, as most slices get no
other: a crawl ages what is popular half as fast.

Rule of this module: two integers a slice, and lists of them by priority; a million slices are held.
"""

from collections.abc import Container, Iterable, Iterator

from edgecache.core.ghosts import Ghosts
from edgecache.core.model import SliceKey
from edgecache.core.places import Places
from edgecache.core.policy import GOES_FIRST, WORN, Loaded, Popularity, Taken

FAVOUR = 64 * 2**10  # C0: what makes small slices dearer, in bytes
LEAST_SIZE = 4096
FIRST_HIT = 0.5  # by so much the first hit is worth less than others
WINDOW = 60.0  # seconds in which hits of a slice count once
MOST_COUNTED = 15
MOST_SEEN = 2**16  # slices in one window
GHOSTS = 1000  # at least so many are remembered

STEP = 64  # priorities are kept in whole steps of so small a part
# Places in the order: demoted slices before all, pinned ones behind all.
DEMOTED = 0
FIRST = 1
PINNED = 2**28

# A slice's state, one integer: place, size, count.
COUNT_BITS = 4
SIZE_BITS = 27
LARGEST = 2**SIZE_BITS - 1
PLACE_BITS = SIZE_BITS + COUNT_BITS  # those below the place


NUMBER_BITS = 32
LAST_NUMBER = 2**NUMBER_BITS - 1


def packed(key: SliceKey) -> int:
    return int(key.version, 16) << NUMBER_BITS | key.number


def unpacked(key: int) -> SliceKey:
    return SliceKey(f"{key >> NUMBER_BITS:032x}", key & LAST_NUMBER)


class LfudaPolicy:
    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._size = 0
        self._states: dict[int, int] = {}
        self._age = 0  # in steps
        self._base = 0.0  # priority of step 0, after a restart
        self._places = Places()
        self._ghosts = Ghosts()
        self._seen: dict[int, float] = {}
        self._seen_before: dict[int, float] = {}
        self._turned = 0.0
        self._changed: set[int] = set()

    def __repr__(self) -> str:
        return f"<LfudaPolicy: {len(self)} slices, {self._size} of {self._limit} bytes>"

    def add(
        self, key: SliceKey, size: int, now: float, *, pinned: bool = False
    ) -> dict[SliceKey, int]:
        if size > min(self._limit, LARGEST):
            raise ValueError(f"{size} bytes do not fit into {self._limit}")
        name = packed(key)
        count = self._count(name)
        self.remove(key)
        victims = self._evict(self._limit - size)
        if self._is_new(name, now):
            count = min(count + 1, MOST_COUNTED)
        self._put(name, self._state(size, max(count, 1), pinned=pinned))
        self._size += size
        return victims

    def _count(self, name: int) -> int:
        """How often a slice was asked for before it came, or came again."""
        if (state := self._states.get(name)) is not None:
            return parts(state)[2]
        return self._ghosts.take(name, most=self._remembered)

    @property
    def _remembered(self) -> int:
        return max(GHOSTS, len(self._states))

    def _is_new(self, name: int, now: float) -> bool:
        """Whether this hit counts: the first in a while."""
        last = self._seen.get(name)
        if last is None:
            last = self._seen_before.get(name)
        if last is not None and 0 <= now - last < WINDOW:
            return False
        if not 0 <= now - self._turned < WINDOW or len(self._seen) >= MOST_SEEN:
            self._seen_before, self._seen, self._turned = self._seen, {}, now
        self._seen[name] = now
        return True

    def _state(self, size: int, count: int, *, pinned: bool) -> int:
        worth = (count - FIRST_HIT) * STEP * (1 + FAVOUR / max(size, LEAST_SIZE))
        place = FIRST + self._age + int(worth) + (PINNED if pinned else 0)
        return place << PLACE_BITS | size << COUNT_BITS | count

    def _put(self, name: int, state: int) -> None:
        self._states[name] = state
        self._places.add(state >> PLACE_BITS, name)
        self._changed.add(name)

    def access(self, key: SliceKey, now: float, count: int = 1) -> None:
        """However many they were, they came within a batch: they count once."""
        name = packed(key)
        state = self._states.get(name)
        if state is None or not self._is_new(name, now):
            return
        place, size, counted = parts(state)
        new = self._state(size, min(counted + 1, MOST_COUNTED), pinned=place >= PINNED)
        if place != DEMOTED and new != state:
            self._put(name, new)
            self._left(place)

    def admits(self, key: SliceKey, size: int) -> bool:
        name = packed(key)
        if size < WORN or self._ghosts.knows(name, most=self._remembered):
            return True
        self._ghosts.add(name, 1, most=self._remembered)
        return False

    def load(
        self, slices: Iterable[Loaded], age: float = 0.0, pinned: Container[str] = ()
    ) -> Taken:
        """A million of them: so the loop has no calls but into C, and nothing of them is kept but
        what stays."""
        self._places = Places()
        self._age = 0
        self._changed = set()
        self._base = age
        states, by_place, total = {}, self._places.queues(), 0
        later: dict[int, int] = {}
        for packed_name, size, count, priority in slices:
            name = int.from_bytes(packed_name, "big")
            if count:
                place = FIRST + int((priority - age) * STEP)
                if not FIRST <= place < PINNED:
                    place = bounded(place, priority)
            else:
                count = 1
                worth = (1 - FIRST_HIT) * STEP * (1 + FAVOUR / max(size, LEAST_SIZE))
                place = FIRST + int(worth)
            if pinned and place != DEMOTED and f"{name >> NUMBER_BITS:032x}" in pinned:
                place += PINNED
            if name & LAST_NUMBER:
                version = name >> NUMBER_BITS
                later[version] = later.get(version, 0) + 1
            held = size << COUNT_BITS | (count if count < MOST_COUNTED else MOST_COUNTED)
            states[name] = place << PLACE_BITS | held
            by_place[place].append(name)
            total += size
        self._states, self._size = states, total
        self._places.load(by_place)
        demoted = {unpacked(name).version for name in by_place.get(DEMOTED, ())}
        return Taken({f"{version:032x}": count for version, count in later.items()}, demoted)

    def shrink(self, limit: int) -> dict[SliceKey, int]:
        self._limit = max(limit, 0)
        return self._evict(self._limit)

    def _evict(self, room: int) -> dict[SliceKey, int]:
        victims = {}
        while self._size > room:
            place, name = self._places.lowest()
            state = self._states.get(name)
            if state is None or state >> PLACE_BITS != place:
                continue  # it has gone, or moved up
            _, size, count = parts(state)
            if FIRST <= place < PINNED:
                self._age = max(self._age, place - FIRST)
            if place != DEMOTED:
                self._ghosts.add(name, count, most=self._remembered)
            victims[unpacked(name)] = size
            self._forget(name, size)
        return victims

    def _forget(self, name: int, size: int) -> None:
        del self._states[name]
        self._changed.discard(name)
        self._size -= size

    def _left(self, place: int) -> None:
        """An entry of that place is void. Where half of them are, the list is made anew."""
        self._places.left(place, lambda name: self._states.get(name, 0) >> PLACE_BITS == place)

    def demote(self, key: SliceKey) -> None:
        name = packed(key)
        if (state := self._states.get(name)) is None:
            return
        place, size, count = parts(state)
        if place != DEMOTED:
            self._put(name, size << COUNT_BITS | count)
            self._left(place)

    def remove(self, key: SliceKey) -> int:
        name = packed(key)
        if (state := self._states.get(name)) is None:
            return 0
        place, size, _ = parts(state)
        self._forget(name, size)
        self._left(place)
        return size

    def popularity(self, key: SliceKey) -> Popularity | None:
        state = self._states.get(packed(key))
        return None if state is None else self._popularity(state)

    def _popularity(self, state: int) -> Popularity:
        place, _, count = parts(state)
        steps = max(place - FIRST, 0) % PINNED
        return Popularity(count, self._base + steps / STEP)

    def changed(self) -> Iterator[tuple[SliceKey, int, float]]:
        changed, self._changed = self._changed, set()
        known = ((name, self._states.get(name)) for name in changed)
        return (
            (unpacked(name), *self._written(state)) for name, state in known if state is not None
        )

    def _written(self, state: int) -> Popularity:
        found = self._popularity(state)
        is_demoted = state >> PLACE_BITS == DEMOTED
        return found._replace(priority=GOES_FIRST) if is_demoted else found

    @property
    def age(self) -> float:
        return self._base + self._age / STEP

    def __contains__(self, key: SliceKey) -> bool:
        return packed(key) in self._states

    def __len__(self) -> int:
        return len(self._states)

    @property
    def size(self) -> int:
        return self._size


def bounded(place: int, priority: float) -> int:
    """Of what another hand wrote, or of before the age; and of what was demoted."""
    if place < FIRST:
        return DEMOTED if priority == GOES_FIRST else FIRST
    return min(place, PINNED - 1)


def parts(state: int) -> tuple[int, int, int]:
    """(place, size, count)."""
    size = state >> COUNT_BITS & LARGEST
    return state >> PLACE_BITS, size, state & (1 << COUNT_BITS) - 1
