"""What the visitors do, decided beforehand. Rule of this module: a script is a value, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecache.core.model import ByteSpan
from edgecache.demo.samples import CLIP, IMAGES, PAGE, VIDEO, boxes

KIB = 2**10
VISITORS = 3
VIEWERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One GET. `last` is inclusive, as in a Range field, and None for an open end."""

    key: str
    first: int | None = None  # None: no Range
    last: int | None = None
    leave_after: int | None = None  # bytes, at which the client has enough and goes
    revalidate: bool = False  # If-None-Match with the ETag seen last

    @property
    def range(self) -> str:
        if self.first is None:
            return ""
        return f"bytes={self.first}-{'' if self.last is None else self.last}"

    def span(self, length: int) -> ByteSpan:
        return ByteSpan(self.first or 0, length if self.last is None else self.last + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    title: str
    asks: tuple[Ask, ...]
    together: bool = False  # all at once, not one after another


def write_script(objects: Mapping[str, bytes]) -> tuple[Step, ...]:
    page = tuple(Ask(key=key) for key in PAGE)
    whole = Ask(key=VIDEO)
    return (
        Step(title=f"Gallery, {VISITORS} visitors", asks=page * VISITORS),
        Step(title="Video starts", asks=start_of_video(objects[VIDEO])),
        Step(title="Seeks", asks=seeks(len(objects[VIDEO]))),
        Step(title="Repeat views", asks=(whole, *page, whole)),
        Step(title=f"New clip, {VIEWERS} at once", asks=(Ask(key=CLIP),) * VIEWERS, together=True),
        Step(
            title="Unchanged? (304)",
            asks=tuple(Ask(key=key, revalidate=True) for key in (*IMAGES, VIDEO)),
        ),
    )


def start_of_video(mp4: bytes) -> tuple[Ask, ...]:
    """As browsers do it: from the start, no index there; leave, get it from the end, then play."""
    return (
        Ask(key=VIDEO, first=0, leave_after=32 * KIB),
        Ask(key=VIDEO, first=boxes(mp4)["moov"].start),
        Ask(key=VIDEO, first=0, last=160 * KIB - 1),
    )


def seeks(length: int) -> tuple[Ask, ...]:
    """To the middle, on, back to the middle, and to near the end."""
    return tuple(
        Ask(key=VIDEO, first=int(length * part), last=int(length * part) + 96 * KIB - 1)
        for part in (0.5, 0.7, 0.5, 0.85, 0.3, 0.55)
    )
