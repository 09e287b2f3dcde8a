"""What the engine knows of the disk: two Protocols.

Rule of this package: a store never makes a request fail. Trouble is a miss, a `False` and a word
in `trouble()`; only `start` (a folder in use) and `OpenSlice.read` (a file cut short) raise.
"""

from typing import Protocol

from edgecache.core.model import ObjectKey, ObjectMeta, SliceKey

Bytes = bytes | bytearray | memoryview


class OpenSlice(Protocol):
    """One verified slice. It can be read to its end whatever happens to its key meanwhile."""

    @property
    def length(self) -> int: ...

    def read_nowait(self, start: int, stop: int) -> Bytes | None:
        """Those bytes of the slice if memory holds them all, else None: `read` them."""

    async def read(self, start: int, stop: int) -> Bytes:
        """Those bytes of the slice.

        :raises StoreError: the disk cannot give them.
        """


class SliceStore(Protocol):
    """Slices and stored responses, within a byte bound."""

    async def start(self) -> None:
        """:raises StoreError: another process uses the folder."""

    async def close(self) -> None: ...

    def has(self, key: SliceKey) -> bool: ...

    def opened(self, key: SliceKey) -> OpenSlice | None:
        """The slice if it is open already; counts as a use. None says nothing: `open` it."""

    def used(self, key: SliceKey, count: int) -> None:
        """A slice was used so often without its being asked for here."""

    async def open(self, key: SliceKey, meta: ObjectMeta) -> OpenSlice | None:
        """The slice, verified against `meta`, or None: a miss. What is wrong is removed."""

    async def put(self, key: SliceKey, meta: ObjectMeta, data: Bytes) -> bool:
        """True once the slice can be found. `data` may not change until then."""

    async def load_meta(self, key: ObjectKey) -> ObjectMeta | None: ...

    async def save_meta(self, meta: ObjectMeta) -> bool:
        """True once it is what `load_meta` gives, also to other processes."""

    async def remove_meta(self, key: ObjectKey) -> bool:
        """True once it is gone."""

    def supersede(self, version: str, slices: range) -> None:
        """`version` was replaced at the origin: its slices are evicted first."""

    def discard(self, version: str, slices: range) -> None:
        """Those slices are not there any more; their files go behind."""

    async def clear(self) -> bool:
        """Nothing is there any more. True once no stored response can be found, by other processes
        either; the files go behind."""

    def trouble(self) -> str:
        """What is wrong with the disk, "" if nothing is."""

    @property
    def size(self) -> int:
        """Bytes on disk, database included."""

    @property
    def limit(self) -> int: ...

    @property
    def slices(self) -> int: ...
