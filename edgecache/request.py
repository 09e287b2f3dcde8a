"""What the web layer asks of the engine, and what it gets."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgecache.core.index import Route, StoredResponse
from edgecache.core.model import ObjectKey, Reason, Result, Source
from edgecache.store import Bytes

# No source: another process has counted these bytes.
Piece = tuple[Source | None, Bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRequest:
    """A GET or HEAD of one object. `headers` is a case-insensitive mapping, `reason` why bytes are
    bought for it, `version` the only one whose bytes are wanted, if that is so."""

    method: str
    key: ObjectKey
    route: Route
    headers: Mapping[str, str]
    reason: Reason = Reason.DEMAND
    version: str = ""


class Use(NamedTuple):
    """A stored response as one request found it: how many purges of bytes there had been by then
    says whether more bytes may follow its own."""

    stored: StoredResponse
    route: Route
    purges: int


class Hit(NamedTuple):
    """An answer that memory has whole; `head` is its field lines. A tuple: made for every hit."""

    status: int
    head: str
    cache_status: str
    data: Sequence[Bytes]
    stored: StoredResponse


@dataclass(slots=True, kw_only=True)
class Answer:
    """`length` is the body's, also of the one that a HEAD leaves out; None where there is none.

    `first` and then `body` give the pieces: the first is there before the head is sent, so that an
    origin that fails at once gets an honest status. Who gives it lets go of it.
    """

    status: int
    fields: list[tuple[str, str]]
    length: int | None
    result: Result
    cache_status: str
    first: Piece | None = None
    body: AsyncGenerator[Piece, None] | None = None
