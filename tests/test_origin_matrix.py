"""The origin fails, in each phase of a read, in front of one process and of several: what the
client sees of it. No byte is ever wrong, and the next read is right. The grid of all of it is
printed at the end."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from edgecache.core.failures import PAUSE
from tests import serving
from tests.origin_faults import CUT, PHASES, RIGHT, SLICES, TROUBLES, Phase, Trouble
from tests.pattern import Pattern
from tests.reading import KEY, TARGET, asking, at_rest, fetch, put, span
from tests.serving import SLICE, Serve, Site

FORMS = {"memory": "one process", "workers": "two workers"}
LIFETIME = 3600
START, STOP = 1000, (SLICES - 1) * SLICE + 100
READS = {"whole": "", "range": f"bytes={START}-{STOP - 1}"}
# Long beside what a busy machine may hold up an origin that is well.
QUICK = {"first_byte_timeout": 1, "stall_timeout": 1}
serve = pytest.fixture(params=list(FORMS), name="serve")(serving.serving)

Grid = dict[tuple[str, str, str, str], str]


@pytest.fixture(scope="module")
def grid(request: pytest.FixtureRequest) -> Iterator[Grid]:
    cells: Grid = {}
    yield cells
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for form in FORMS.values():
            print(
                f"\n\n{form}. In each cell: the whole | a range, +requests for a rest of an answer;"
            )
            print("each next read is right.")
            print(" " * 34 + "".join(f"{phase:<22}" for phase in PHASES))
            for trouble in TROUBLES:
                row = [
                    " | ".join(cells.get((form, trouble, phase, read), "-") for read in READS)
                    for phase in PHASES
                ]
                print(f"{trouble:<34}" + "".join(f"{cell:<22}" for cell in row))


@pytest.fixture
async def site(serve: Serve, name: str) -> AsyncIterator[Site]:
    trouble = TROUBLES[name]
    fetching = (QUICK if trouble.waits else {}) | dict(trouble.settings)
    async with serve(
        log={"access": "off"}, fetch=fetching, freshness={"ttl": LIFETIME, "stale_if_error": 86400}
    ) as site:
        yield site


class Versions:
    """What the object was and is at the origin, so that a body can be told to be one of them."""

    def __init__(self, site: Site, phase: Phase) -> None:
        self.old = put(site, SLICES)
        self.now = self.old
        self.site = site
        self.phase = phase

    async def make_known(self) -> None:
        """Some slices of it are stored, and it is replaced and stale."""
        for number in self.phase.known:
            await fetch(self.site, TARGET, span(number))
            await at_rest(self.site)
        if self.phase.known:
            self.now = put(self.site, SLICES, 2)
            self.site.clock.advance(LIFETIME + self.phase.past)
        self.site.origin.reset()

    def are_all_of_one(self, body: bytes, start: int) -> bool:
        sources = [self.old, self.now]
        if stored := self.site.origin.objects.get(KEY):
            assert isinstance(stored.data, Pattern)
            sources.append(stored.data)
        return any(body == one.read(start, min(start + len(body), one.length)) for one in sources)


async def ending(site: Site, versions: Versions, range_: str) -> str:
    """How one read ends: `right`, `cut`, or the status of an error; wrong bytes fail the test."""
    start = START if range_ else 0
    async with asking(site, TARGET, {"Range": range_} if range_ else {}) as got:
        await got.head()
        if got.status not in (200, 206):
            body = await got.rest()
            assert b"<" not in body, "the origin's words"
            return str(got.status)
        end = RIGHT
        try:
            body = await got.rest()
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            body, end = getattr(error, "partial", b""), CUT
        assert versions.are_all_of_one(body, start)
        return end


async def is_right_next(site: Site, range_: str) -> None:
    """Of what is at the origin by then, twice: anew, and from what is stored."""
    stored = site.origin.objects.get(KEY)
    site.clock.advance(PAUSE + 1)
    for _ in range(2):
        reply = await site.get(TARGET, {"Range": range_} if range_ else {})
        if stored is None:
            assert reply.status == 404
            continue
        start = START if range_ else 0
        stop = min(STOP, stored.data.length) if range_ else stored.data.length
        assert reply.status == (206 if range_ else 200)
        assert reply.body == stored.data.read(start, stop)
        await at_rest(site)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", TROUBLES)
async def test_a_fault(
    site: Site,
    name: str,
    phase: str,
    read: str,
    request: pytest.FixtureRequest,
    grid: Grid,
) -> None:
    cell = FORMS[request.node.callspec.params["serve"]], name, phase, read
    grid[cell] = "FAILED"
    trouble: Trouble = TROUBLES[name]
    versions = Versions(site, PHASES[phase])
    await versions.make_known()
    trouble.begin(site, PHASES[phase])
    end = await ending(site, versions, READS[read])
    assert not site.origin.faults, "nothing befell it"
    await at_rest(site)
    resumes = await site.metric("origin_resumes_total")
    assert end == trouble.end_in(phase)
    await is_right_next(site, READS[read])
    assert await site.metric("integrity_failures_total") == 0
    grid[cell] = f"{end} +{resumes:.0f}"
