"""All checks together: their order, their limits, and what is not asked any more."""

import asyncio

import pytest

from edgecache.core.errors import UpstreamError
from edgecache.doctor import checkup
from edgecache.doctor.checkup import CHECKS, WRITING, Check, chosen, examine
from edgecache.doctor.finding import Finding, State, milliseconds, ok, problem
from edgecache.doctor.patient import Patient
from tests.doctoring import patient_of
from tests.runpod import RunPodOrigin


async def test_a_store_like_runpods_has_no_problem(store: RunPodOrigin) -> None:
    quirks = store.quirks
    quirks.head_forbidden = quirks.utc_dates = quirks.missing_as_400 = True
    quirks.cloudflare_fields = True
    told: list[str] = []
    async with patient_of(store) as patient:
        results = await examine(patient, CHECKS, 5.0, told.append)
    assert told == [one.check for one in results] == [one.name for one in CHECKS]
    states = {one.check: one.finding.state for one in results}
    assert State.PROBLEM not in states.values()
    notes = {name for name, state in states.items() if state is State.NOTE}
    assert notes == {"HEAD", "dates", "missing key", "presigned", "CORS"}


async def test_every_note_and_problem_has_a_hint(store: RunPodOrigin) -> None:
    store.quirks.ignore_range = store.quirks.no_etag = store.quirks.head_forbidden = True
    async with patient_of(store) as patient:
        results = await examine(patient, CHECKS, 5.0)
    wanting = {State.NOTE, State.PROBLEM}
    told = [one for one in results if one.finding.state in wanting]
    assert len(told) >= 3
    assert [one.check for one in told if not one.finding.hint] == []


async def test_writing_is_asked_for(store: RunPodOrigin) -> None:
    assert WRITING not in chosen(write=False)
    async with patient_of(store) as patient:
        await examine(patient, chosen(write=False), 5.0)
    assert {one.method for one in store.requests} == {"GET", "HEAD", "OPTIONS"}
    assert chosen(write=True)[-1] is WRITING


async def test_an_origin_that_hangs_does_not_hang_the_doctor(store: RunPodOrigin) -> None:
    gate = store.hold(times=None)
    async with patient_of(store) as patient:
        async with asyncio.timeout(5):
            results = await examine(patient, CHECKS, 0.1)
    gate.release()
    findings = {one.check: one.finding for one in results}
    assert findings["listing"].text == "no answer in 0.1 s"
    assert "the origin hangs" in findings["listing"].hint
    assert findings["throughput"].state is State.SKIPPED
    assert len(store.requests) == 1


async def never(_: Patient) -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


async def fine(_: Patient) -> Finding:
    return ok("fine")


async def wrong(_: Patient) -> Finding:
    return problem("wrong", "see <name>")


async def broken(_: Patient) -> Finding:
    raise UpstreamError("the origin did not answer")


async def test_what_needs_what_failed_is_not_asked(store: RunPodOrigin) -> None:
    table = (Check("a", wrong, ""), Check("b", fine, "a"), Check("c", fine, "b"))
    async with patient_of(store) as patient:
        a, b, c = (one.finding for one in await examine(patient, table, 1.0))
    assert a == problem("wrong", "see main")
    assert (b.text, c.text) == ("not asked: see a", "not asked: see b")


async def test_there_is_an_end_to_all_of_it(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "MOST_SECONDS", 0.05)
    table = (Check("a", never, ""), Check("b", fine, ""))
    async with patient_of(store) as patient:
        a, b = (one.finding for one in await examine(patient, table, 5.0))
    assert a.text.startswith("no answer in 0.0")
    assert b.text == "not asked: 0.05 s are over"


async def test_an_error_is_a_problem_with_a_hint(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        (one,) = await examine(patient, (Check("a", broken, ""),), 1.0)
    assert (one.finding.state, one.finding.text) == (State.PROBLEM, "the origin did not answer")
    assert "try again" in one.finding.hint


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0012, "1.2 ms"), (0.032, "32 ms"), (1.5, "1500 ms")]
)
def test_times(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text
