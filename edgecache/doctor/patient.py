"""Who is examined: an origin, what of it can be read, and what was learnt so far."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.core.errors import UpstreamError
from edgecache.core.model import ObjectKey
from edgecache.core.ranges import RangeSpec
from edgecache.core.reply import Fields, Found
from edgecache.doctor.probe import Probe
from edgecache.upstream import Body, S3Upstream

MOST_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    size: int

    @property
    def odd(self) -> bool:
        """Whether its URL has escapes."""
        return not re.fullmatch(r"[A-Za-z0-9/_.~-]*", self.key)

    @property
    def extension(self) -> str:
        match = re.search(r"\.([A-Za-z0-9]{1,8})$", self.key)
        return f".{match[1].lower()}" if match else "no extension"


@dataclass(slots=True, kw_only=True)
class Learnt:
    """What the verdict and the profile are made of. None: not found out."""

    public: bool | None = None
    presigned: bool | None = None
    cors: bool | None = None
    first_byte: float | None = None  # seconds
    rate: float | None = None  # bytes a second, of one connection
    path_safe: str | None = None
    connections: int | None = None
    if_match: bool = True
    if_none_match: bool = True
    suffix_range: bool = True


@dataclass(slots=True, kw_only=True)
class Patient:
    name: str
    origin: Origin
    fetch: Fetch
    public: Sequence[str]  # key prefixes
    key: str = ""
    listed: list[Listed] = field(default_factory=list)
    length: int = 0  # of `key`
    fields: Fields = field(default_factory=dict)  # of a GET of `key`
    learnt: Learnt = field(default_factory=Learnt)
    probe: Probe = field(init=False)
    upstream: S3Upstream = field(init=False)

    def __post_init__(self) -> None:
        self.probe = Probe(self.origin, self.fetch)
        # What is set already goes into a profile that is written anew.
        self.learnt.path_safe = self.origin.path_safe or None
        self.learnt.connections = self.origin.connections
        self.upstream = S3Upstream(self.origin, self.fetch, clock=time.time)

    async def close(self) -> None:
        await self.probe.close()
        await self.upstream.close()

    async def get(self, key: str, range_: RangeSpec | None) -> tuple[Found, Body]:
        """As serving asks.

        :raises EdgecacheError: as serving has it.
        """
        return await self.probe.repeated(partial(self._get, key, range_))

    async def _get(self, key: str, range_: RangeSpec | None) -> tuple[Found, Body]:
        self.probe.count()
        found, body = await self.upstream.get(ObjectKey(self.name, key), range_)
        if not isinstance(found, Found):
            body.close()
            raise UpstreamError("the origin answered 304 to a plain request")
        return found, body

    @property
    def samples(self) -> list[Listed]:
        """One object of each kind, the key's first."""
        kinds: dict[str, Listed] = {}
        for one in [Listed(self.key, self.length), *self.listed]:
            if one.key == self.key or not one.odd:
                kinds.setdefault(one.extension, one)
        return list(kinds.values())[:MOST_SAMPLES]

    @property
    def largest(self) -> Listed:
        plain = [one for one in self.listed if not one.odd]
        return max([Listed(self.key, self.length), *plain], key=lambda one: one.size)
