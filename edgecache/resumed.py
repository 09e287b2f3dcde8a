"""The body of one answer that goes on where it broke, by asking for the rest of it.

Rules of this module: all bytes are of one version, each comes once and in order; a part that broke
is closed before the rest is asked for, or that would wait for its connection.
"""

from collections.abc import Callable
from typing import Protocol

from edgecache.core.errors import (
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    UpstreamError,
    VersionChanged,
)
from edgecache.core.model import Broken
from edgecache.core.ranges import IntRange
from edgecache.core.reply import Found, NotModified
from edgecache.upstream import Body

# So many bytes, and what broke before them no longer counts.
PROGRESS = 2**16


class AskRest(Protocol):
    async def __call__(
        self, range_: IntRange, error: UpstreamError, attempt: int
    ) -> tuple[Found | NotModified, Body]:
        """Asks once, after a while. `attempt`: how often it was asked before, in vain.

        :raises EdgecacheError: `error` itself if it is not to be asked for, or not any more.
            NotAsked: it was to be, but the origin was not asked.
        """


class ResumedBody:
    def __init__(
        self,
        found: Found,
        body: Body,
        ask_rest: AskRest,
        on_resume: Callable[[Broken], None] = lambda why: None,
        on_waste: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`found` has a version; `on_resume` is told of each request for a rest, after it;
        `on_waste` of bytes of a rest that were not wanted."""
        self.is_wanted: Callable[[], bool] = lambda: True
        self._meta = found.meta
        self._body = body
        self._ask_rest = ask_rest
        self._on_resume = on_resume
        self._on_waste = on_waste
        self._at = found.span.start  # what has been read, as a position in the object
        self._stop = found.span.stop
        self._coming = self._at  # where the next byte of `body` belongs
        self._attempt = 0
        self._since = 0  # bytes read since the last attempt

    async def read(self) -> bytes:
        """As `Body.read`.

        :raises VersionChanged: the rest is another version's; UpstreamError: it could not be had.
        """
        while self._at < self._stop:
            try:
                data = await self._body.read()
                if not data:
                    raise UpstreamError("the origin's body ended early")
            except UpstreamError as error:
                await self._resume(error)
                continue
            if data := self._new(data):
                return data
        return b""

    def close(self) -> None:
        self._body.close()

    @property
    def unread(self) -> int:
        return self._body.unread

    def _new(self, data: bytes) -> bytes:
        """What of `data` was not read yet and is wanted: an origin may send all for a rest."""
        start = self._at - self._coming
        stop = self._stop - self._coming
        self._coming += len(data)
        if start > 0 or stop < len(data):
            came = len(data)
            data = data[start:stop]
            self._on_waste(came - len(data))
        self._at += len(data)
        self._since += len(data)
        if self._since >= PROGRESS:
            self._attempt = 0
        return data

    async def _resume(self, error: UpstreamError) -> None:
        self._body.close()
        why = why_broken(error)
        while True:
            if not self.is_wanted():
                raise error
            range_ = IntRange(self._at, self._stop - 1)
            try:
                found, body = await self._ask_rest(range_, error, self._attempt)
            except (VersionChanged, NotFound, RangeNotSatisfiable) as changed:
                self._asked(why)
                raise VersionChanged("the object was replaced while it was read") from changed
            except NotAsked:
                raise
            except UpstreamError as again:
                if again is error:
                    raise
                self._asked(why)
                error, why = again, Broken.REFUSED
                continue
            self._asked(why)
            self._body = body
            if not isinstance(found, Found) or not found.meta.names_same(self._meta):
                body.close()
                raise VersionChanged("the object was replaced while it was read")
            self._coming = found.span.start
            return

    def _asked(self, why: Broken) -> None:
        self._on_resume(why)
        self._attempt += 1
        self._since = 0


def resume_if(body: Body, is_wanted: Callable[[], bool]) -> None:
    """What breaks is gone on with only if somebody wants it by then."""
    if isinstance(body, ResumedBody):
        body.is_wanted = is_wanted


def why_broken(error: UpstreamError) -> Broken:
    return Broken.STALLED if error.status == 504 else Broken.CUT
