"""What the engine knows of the disk: two Protocols.

Rule of this package: a store never makes a request fail. Trouble is a miss, a `False` and a word
in `trouble()`; only `start` (a folder in use) and `OpenSlice.read` (a file cut short) raise.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edgecache.core.admission import Admission
from edgecache.core.marks import Mark, Marks
from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey
from edgecache.core.policy import Popularity

Bytes = bytes | bytearray | memoryview


class OpenSlice(Protocol):
    """One verified slice. It can be read to its end whatever happens to its key meanwhile."""

    @property
    def length(self) -> int: ...

    def read_nowait(self, start: int, stop: int, into: memoryview | None = None) -> Bytes | None:
        """Those bytes of the slice if memory holds them all, else None: `read` them. `into`: of the
        same length, where they may be put."""

    async def read(self, start: int, stop: int) -> Bytes:
        """Those bytes of the slice.

        :raises StoreError: the disk cannot give them.
        """


class Step(NamedTuple):
    """Stored responses that a mark concerns, and where the next step begins: None, nowhere."""

    metas: list[ObjectMeta]
    after: str | None


class SliceStore(Protocol):
    """Slices and stored responses, within a byte bound."""

    admission: Admission  # replaced when the settings are

    async def start(self) -> None:
        """:raises StoreError: another process uses the folder."""

    async def close(self) -> None: ...

    def has(self, key: SliceKey) -> bool: ...

    def opened(self, key: SliceKey) -> OpenSlice | None:
        """The slice if it is open already; counts as a use. None says nothing: `open` it."""

    def used(self, key: SliceKey, count: int) -> None:
        """A slice was used so often without its being asked for here."""

    def popularity(self, key: SliceKey) -> Popularity | None:
        """None: it is not here."""

    async def open(self, key: SliceKey, meta: ObjectMeta) -> OpenSlice | None:
        """The slice, verified against `meta`, or None: a miss. What is wrong is removed."""

    async def put(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        """True once the slice can be found; False also of one that is not worth its room.
        `data` may not change until then."""

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None: ...

    async def save_meta(self, meta: ObjectMeta) -> bool:
        """True once it is what `load_meta` gives, also to other processes."""

    async def remove_meta(self, key: ObjectKey) -> bool:
        """True once it is gone."""

    @property
    def marks(self) -> Marks:
        """The purges in force. `load_meta` does not heed them, other processes do once they are
        saved."""

    async def save_mark(self, mark: Mark) -> bool:
        """True once it is on disk, where a restart and other processes find it."""

    async def save_count(self) -> bool:
        """True once the number of the last purge is on disk."""

    async def remove_mark(self, mark: Mark) -> bool:
        """True once it is gone from there."""

    async def step(self, mark: Mark, after: str) -> Step | None:
        """Some of the stored responses that the mark concerns: the first ones after "", then those
        after where the last step ended. None: they can't be read."""

    async def settle(self, mark: Mark, keys: Sequence[ObjectKey]) -> int | None:
        """Remove the stored responses of those that the mark concerns, or make them stale; of how
        many. None: it can't be done."""

    def supersede(self, version: str, slices: range) -> None:
        """`version` was replaced at the origin: its slices are evicted first."""

    def discard(self, version: str, slices: range) -> None:
        """Those slices are not there any more; their files go behind."""

    async def forget(self) -> bool:
        """True once no stored response can be found, by other processes either; slices stay."""

    def trouble(self) -> str:
        """What is wrong with the disk, "" if nothing is."""

    @property
    def size(self) -> int:
        """Bytes on disk, database included."""

    @property
    def limit(self) -> int: ...

    @property
    def room(self) -> int:
        """Bytes on disk that slices can take before any is evicted for them."""

    @property
    def pressure(self) -> int:
        """Bytes of the limit that can't be used, for others have filled the disk."""

    @property
    def slices(self) -> int: ...
