"""The faults of an origin that the matrix tries, in each phase of a read, and how the read ends.

Rule of this module: a fault says what it does to the origin and what a client may see of it;
nothing of how edgecache gets over it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.faults import Action, Answer, Cut, Error, Framed, Framing, Reset, Stall
from tests.pattern import Pattern
from tests.reading import KEY
from tests.serving import SLICE, Site

SLICES = 6


@dataclass(frozen=True, slots=True)
class Phase:
    """Which answer of the origin suffers, and from which byte of its body."""

    skip: int
    after: int
    known: range = range(0)  # slices that are stored, of an object that was replaced at the origin
    past: float = 0  # so long ago it became stale, in seconds


BEFORE_HEAD, FIRST, LATER, REVALIDATION, STALE = (
    "before the head",
    "first slice",
    "later slice",
    "revalidation",
    "stale, all stored",
)
PHASES = {
    BEFORE_HEAD: Phase(0, 0),
    FIRST: Phase(0, 20_000),
    LATER: Phase(1, 20_000),
    REVALIDATION: Phase(0, 20_000, range(1, 2), 1e6),
    STALE: Phase(0, 0, range(SLICES), 100),
}

# How a read ends. RIGHT: one version's bytes, whole, and a client that noticed nothing. CUT: the
# connection is closed after right bytes of one version. Each next read is right.
RIGHT, CUT = "right", "cut"


@dataclass(frozen=True, slots=True)
class Trouble:
    """`ends`: phases where it does not end as in the others (`end`)."""

    begin: Callable[[Site, Phase], None]
    end: str = RIGHT
    ends: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False  # it is noticed by a time that has passed
    settings: Mapping[str, float] = field(default_factory=dict)

    def end_in(self, phase: str) -> str:
        return self.ends.get(phase, self.end)


def breaking(
    *make: Callable[[int], Action], times: int | None = 1
) -> Callable[[Site, Phase], None]:
    def begin(site: Site, phase: Phase) -> None:
        actions = [one(phase.after) for one in make]
        site.origin.fault(*actions, key=KEY, skip=phase.skip, times=times)

    return begin


def failing(status: int, times: int = 1) -> Callable[[Site, Phase], None]:
    return breaking(lambda _: Error(status), times=times)


def framed(framing: Framing) -> Callable[[int], Action]:
    return lambda _: Framed(framing)


class Then:
    """What happens at the origin when an answer breaks."""

    def __init__(self, after: int, event: Callable[[], None]) -> None:
        self._after = after
        self._event = event

    def __call__(self, answer: Answer) -> None:
        async def step(_: object) -> None:
            self._event()

        answer.at(self._after, step)
        Cut(self._after)(answer)


def meanwhile(event: Callable[[Site], None]) -> Callable[[Site, Phase], None]:
    def begin(site: Site, phase: Phase) -> None:
        then = Then(phase.after, lambda: event(site))
        site.origin.fault(then, key=KEY, skip=phase.skip)

    return begin


def replace(site: Site, slices: int = SLICES) -> None:
    site.origin.put(KEY, Pattern(slices * SLICE - 7, 3))


def replace_unnoticed(site: Site) -> None:
    """By an origin that does not look at If-Match."""
    site.origin.quirks.ignore_conditionals = True
    replace(site)


def ignore_range(site: Site) -> None:
    site.origin.quirks.ignore_range = True


# Where nothing was sent yet, a read begins anew with what is there by then.
REPLACED: Mapping[str, str] = {BEFORE_HEAD: RIGHT, STALE: RIGHT}

TROUBLES = {
    # What breaks is gone on with, and a version never joined with another.
    "closed": Trouble(breaking(Cut)),
    "reset": Trouble(breaking(Reset)),
    "closed, no length": Trouble(breaking(framed(Framing.CLOSE), Cut)),
    "closed, chunked": Trouble(breaking(framed(Framing.CHUNKED), Cut)),
    "stalled": Trouble(breaking(Stall), waits=True),
    "twice in a row": Trouble(breaking(Cut, times=2)),
    "closed, then no Range": Trouble(meanwhile(ignore_range)),
    "closed and replaced": Trouble(meanwhile(replace), CUT, REPLACED),
    "closed and shorter": Trouble(meanwhile(lambda site: replace(site, 1)), CUT, REPLACED),
    "closed and replaced, no If-Match": Trouble(meanwhile(replace_unnoticed), CUT, REPLACED),
    "closed and removed": Trouble(
        meanwhile(lambda site: site.origin.remove(KEY)), CUT, {BEFORE_HEAD: "404", STALE: "404"}
    ),
    "closed, no repetition": Trouble(
        breaking(Cut), CUT, {BEFORE_HEAD: "502", STALE: RIGHT}, settings={"retries": 0}
    ),
    # An error is asked again.
    "502": Trouble(failing(502)),
    "524 twice": Trouble(failing(524, 2)),
    # One that may be meant, only of a key that was readable a moment ago.
    "403": Trouble(failing(403), ends={BEFORE_HEAD: "502", FIRST: "502"}),
    # Where it fails as often as it is asked, what is stored in full is given stale.
    "502, and no end": Trouble(
        failing(502, 2), "502", {LATER: CUT, STALE: RIGHT}, settings={"retries": 1}
    ),
}
