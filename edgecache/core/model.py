"""The values that every layer speaks of. Rule: frozen values, no behaviour but identity."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple


class ObjectKey(NamedTuple):
    """What a client asks for, resolved: the origin's name in the config and the key in its bucket.

    A tuple rather than a dataclass, as SliceKey is: both are hashed on every hit.
    """

    origin: str
    key: str


class SliceKey(NamedTuple):
    """One slice of one object version: `version` is `ObjectMeta.version`."""

    version: str
    number: int


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """The half-open byte interval [start, stop). Inclusive positions live in header code only."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"not a span: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta:
    """A stored response without its bytes: what RFC 9111's rules read, what names a version.

    `etag` is always strong and quoted. Where the origin sends none, it is made from Last-Modified
    and length, and `origin_etag` is "". `headers` are the end-to-end fields to pass on, lower-case
    names, without the ones that have a field here. Times are seconds since the epoch by our clock,
    but `date` and `last_modified`, which are the origin's.

    `epoch` is the number of the last purge when it was asked for, `era` when it became known: so
    bytes from before and after a purge are of two versions, though the origin calls them the same.
    `stale`: it was purged softly, so it is to be revalidated whatever its age.
    """

    key: ObjectKey
    etag: str
    origin_etag: str
    length: int
    last_modified: int | None
    date: int | None
    request_time: float
    response_time: float
    headers: tuple[tuple[str, str], ...]
    tags: tuple[str, ...] = ()
    epoch: int = 0
    era: int = 0
    stale: bool = False

    @property
    def version(self) -> str:
        """32 hex digits naming (origin, key, ETag, complete length, era): what slices belong to."""
        parts = [self.key.origin, self.key.key, self.etag, str(self.length)]
        if self.era:
            parts.append(str(self.era))
        return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def names_same(self, other: "ObjectMeta") -> bool:
        """Whether the origin means the same bytes."""
        return (self.key, self.etag, self.length) == (other.key, other.etag, other.length)


class Forward(StrEnum):
    """Why a request went to the origin: the `fwd` values of RFC 9211 §2.2."""

    BYPASS = "bypass"
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    MISS = "miss"
    REQUEST = "request"
    STALE = "stale"
    PARTIAL = "partial"


class NotStored(StrEnum):
    """Why a response may not be stored."""

    NO_STORE = "no-store"
    PRIVATE = "private"
    NO_VALIDATOR = "no-validator"
    VARY = "vary"
    STATUS = "status"
    TOO_LARGE = "too-large"
    UNSETTLED = "unsettled"  # it may still be written to


class StaleUse(StrEnum):
    """Why a response is used past its lifetime (RFC 5861)."""

    WHILE_REVALIDATE = "while-revalidate"
    IF_ERROR = "if-error"


class Result(StrEnum):
    """How a client's request was answered: the `result` label of metrics and of the access log."""

    HIT = "hit"
    PARTIAL = "partial"
    MISS = "miss"
    REVALIDATED = "revalidated"
    STALE = "stale"
    BYPASS = "bypass"
    ERROR = "error"


class Source(StrEnum):
    """Where a client's body bytes came from."""

    CACHE = "cache"
    FILL = "fill"
    PASSTHROUGH = "passthrough"


class Reason(StrEnum):
    """Why a body byte was bought from the origin."""

    DEMAND = "demand"
    REVALIDATE = "revalidate"
    PASSTHROUGH = "passthrough"
    WARM = "warm"
    READAHEAD = "readahead"  # ahead of a reader who goes on and on
    RETRY = "retry"  # again, after a request that failed before its first byte
    RESUME = "resume"  # the rest of an answer that broke
    HEDGE = "hedge"  # a second time, because the first was late
    DUPLICATE = "duplicate"  # bytes that had been bought already


class Broken(StrEnum):
    """Why the rest of an answer was asked for."""

    CUT = "cut"  # closed, reset, or shorter than announced
    STALLED = "stalled"  # no progress in time
    REFUSED = "refused"  # the request for the rest failed itself


# What is bought for slices, that may be here by the time it comes.
FOR_SLICES = frozenset(Reason) - {Reason.REVALIDATE, Reason.PASSTHROUGH}


class Waste(StrEnum):
    """Why bytes were bought that nobody was given and that are not stored."""

    ERROR = "error"  # the body of an error
    UNREAD = "unread"  # it had come when the answer was dropped
    DISCARDED = "discarded"  # of an answer, or a part of one, that nobody needed
    UNSTORED = "unstored"  # of a slice that was not whole, or that the store did not take
    PASSTHROUGH = "passthrough"  # what a client did not ask for, or did not stay for


class FillStatus(StrEnum):
    """How a fill stands, and how it ended."""

    FILLING = "filling"
    DONE = "done"
    ABANDONED = "abandoned"
    FAILED = "failed"
    VERSION_CHANGED = "version-changed"


class Warmed(StrEnum):
    """What became of an object that was to be warmed."""

    HIT = "hit"  # all of it was there, and fresh: the origin was not asked
    REVALIDATED = "revalidated"  # all of it was there, and the origin says that it still holds
    STORED = "stored"
    MORE = "more"  # not all of it is there yet: ask again
    NOT_FOUND = "not-found"
    BAD_KEY = "bad-key"
    BAD_RANGE = "bad-range"
    TOO_LARGE = "too-large"  # for the whole cache
    NO_ROOM = "no-room"  # without evicting what is there
    NOT_STORABLE = "not-storable"  # the origin forbids it
    NOT_STORED = "not-stored"  # the store did not take it
    ERROR = "error"  # the origin's


class Removal(StrEnum):
    """Why a slice left the store."""

    EVICTED = "evicted"
    CORRUPT = "corrupt"
    MISSING = "missing"  # it has no file
    UNREAD = "unread"  # the disk failed to give it
    SUPERSEDED = "superseded"
    PURGED = "purged"
