"""One bad answer tells nothing of a store: what fails now and then is found as what never does."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from random import Random

import pytest

from edgecache.doctor.checkup import CHECKS, WRITING, examine
from edgecache.doctor.finding import Finding, State
from tests.doctoring import examined, fill, patient_of
from tests.faults import Action, Cut, Error, Fault
from tests.runpod import RunPodOrigin

TIMED = {"DNS", "TCP", "TLS", "clock", "first byte", "throughput"}
SEEDS = range(8)


@dataclass(slots=True, kw_only=True)
class Now(Fault):
    """Befalls a twentieth of all requests."""

    chance: Random = field(default_factory=Random)

    def befalls(self, key: str, range_: str | None, *, reused: bool) -> bool:
        return self.chance.random() < 0.05


def honest(_: RunPodOrigin) -> None:
    pass


def odd(store: RunPodOrigin) -> None:
    store.quirks.undecoded = "="
    store.quirks.head_forbidden = store.quirks.missing_as_400 = True
    store.put("outputs/seed=1/a b.png", b"123")
    store.fault(Error(400, "InvalidRange"), range="bytes=-2", times=None)


async def conclusions(store: RunPodOrigin) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Of each check, and for the profile; without what was measured."""
    async with patient_of(store) as patient:
        results = await examine(patient, (*CHECKS, WRITING), 20.0)
        learnt = asdict(patient.learnt)
    told = {one.check: essence(one.check, one.finding) for one in results}
    return told, learnt | {"first_byte": 0.0, "rate": 0.0}


def essence(check: str, finding: Finding) -> tuple[State, str, str]:
    return finding.state, "" if check in TIMED else finding.text, finding.hint


@pytest.mark.parametrize("kind", [honest, odd])
@pytest.mark.parametrize("action", [Error(502), Error(429, "SlowDown"), Cut()], ids=repr)
async def test_an_origin_that_fails_now_and_then_is_found_as_one_that_does_not(
    runpod: RunPodOrigin, kind: Callable[[RunPodOrigin], None], action: Action
) -> None:
    fill(runpod)
    kind(runpod)
    expected = await conclusions(runpod)
    for seed in SEEDS:
        fill(runpod)
        runpod.faults = [one for one in runpod.faults if not isinstance(one, Now)]
        runpod.faults.append(Now(actions=(action,), chance=Random(seed)))
        assert await conclusions(runpod) == expected, f"seed {seed}"


CHECKED = (
    "suffix range",
    "If-Match",
    "If-None-Match",
    "ETag",
    "odd keys",
    "CORS",
    "at once",
)


@pytest.mark.parametrize("name", CHECKED)
async def test_of_one_that_fails_for_a_while_nothing_is_learnt(
    store: RunPodOrigin, name: str
) -> None:
    store.put("outputs/seed=1/a.png", b"123")
    async with patient_of(store) as patient:
        await examined(patient)
        before = asdict(patient.learnt)
        store.fault(Error(502), times=None)
        (check,) = (one for one in CHECKS if one.name == name)
        (result,) = await examine(patient, [check], 5.0)
        assert asdict(patient.learnt) == before
    assert result.finding.state is State.PROBLEM
    assert "502 InternalError" in result.finding.text
