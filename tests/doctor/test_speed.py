"""How fast, and how much at one time: bounded, and told with what to do."""

import pytest

from edgecache.core.errors import EdgecacheError
from edgecache.doctor import probe, speed
from edgecache.doctor.finding import State
from tests.doctoring import CLIP, examined, found, patient_of
from tests.faults import Error
from tests.pattern import Pattern
from tests.runpod import RunPodOrigin


async def test_the_time_to_the_first_byte(store: RunPodOrigin) -> None:
    store.quirks.latency = 0.02
    async with patient_of(store) as patient:
        finding = (await examined(patient, "first byte"))["first byte"]
    assert finding.state is State.OK
    assert patient.learnt.first_byte is not None
    assert patient.learnt.first_byte >= 0.02


async def test_a_slow_first_byte(store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    store.quirks.latency = 0.02
    monkeypatch.setattr(speed, "NOTED", 0.01)
    finding = await found(store, "first byte")
    assert (finding.state, "warm the cache" in finding.hint) == (State.NOTE, True)
    monkeypatch.setattr(speed, "SLOW", 0.01)
    finding = await found(store, "first byte")
    assert (finding.state, "near the store" in finding.hint) == (State.PROBLEM, True)


async def test_an_origin_that_fails_now_and_then(store: RunPodOrigin) -> None:
    # One is the read's, one a time's. Serving repeats such refusals of what was readable.
    store.fault(Error(403, "AccessDenied"), key=CLIP, range="bytes=0-0", skip=2)
    finding = await found(store, "first byte")
    assert finding.text == "403 AccessDenied at request 2 of 5"


async def test_rates_with_one_connection_and_eight(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "BOUGHT", 200_000)
    async with patient_of(store) as patient:
        await examined(patient)
        store.reset()
        finding = await speed.throughput(patient)
    assert finding.facts["bytes"] == 200_000
    assert store.body_bytes == 400_000
    assert [one.range for one in store.requests][:2] == ["bytes=0-199999", "bytes=0-24999"]
    assert len(store.requests) == 9


async def test_a_slow_body_does_not_hold_up(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.quirks.bandwidth = 1_000_000
    store.put("outputs/long.mp4", Pattern(8 * 2**20))
    monkeypatch.setattr(speed, "ENOUGH", 0.1)
    finding = await found(store, "throughput")
    single = finding.facts["single"]
    assert isinstance(single, int)
    assert single < 5_000_000


async def test_small_objects_tell_no_rate(store: RunPodOrigin) -> None:
    store.remove(CLIP)
    assert (await found(store, "throughput")).state is State.SKIPPED


async def test_as_many_at_once_as_serving_would_open(store: RunPodOrigin) -> None:
    finding = await found(store, "at once")
    assert finding.text == "16 at once are answered"  # fetch.connections of these tests
    assert (await found(store, "at once", connections=3)).facts["safe"] == 3


async def test_a_store_that_stands_only_so_many(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def answered(_: object) -> str:
        nonlocal asked
        asked += 1
        return "503 SlowDown" if asked > 8 else ""

    monkeypatch.setattr(speed, "answered", answered)
    async with patient_of(store) as patient:
        finding = await speed.concurrency(patient)
    assert finding.text == "at 16 at once 16 were not answered (503 SlowDown)"
    assert finding.hint == "set origins.<name>.connections: 8, or use --write-profile"
    assert patient.learnt.connections == 8


@pytest.mark.parametrize(
    ("failing", "safe"),
    [
        ({8: [8, 8, 0]}, 16),  # it was another's doing
        ({8: [1] * 3, 16: [2] * 3}, 16),  # now and then
        ({16: [3, 16, 3]}, 8),
    ],
    ids=["not each time", "few", "each time"],
)
async def test_a_limit_is_one_that_is_met_each_time(
    store: RunPodOrigin,
    monkeypatch: pytest.MonkeyPatch,
    failing: dict[int, list[int]],
    safe: int,
) -> None:
    async def unanswered(_: object, level: int) -> list[str]:
        return ["502"] * (failing[level].pop(0) if failing.get(level) else 0)

    monkeypatch.setattr(speed, "unanswered", unanswered)
    async with patient_of(store) as patient:
        finding = await speed.concurrency(patient)
        assert finding.facts["safe"] == safe
        assert patient.learnt.connections == (None if safe == 16 else safe)


async def test_where_nothing_is_answered_there_is_no_limit_to_learn(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        await examined(patient)
        store.fault(Error(502), times=None)
        finding = await speed.concurrency(patient)
        assert finding.text == "at 8 at once 8 were not answered (502 InternalError)"
        assert (finding.state, finding.facts["safe"]) == (State.PROBLEM, 0)
        assert "try again later" in finding.hint
        assert patient.learnt.connections is None


async def test_that_the_doctor_may_ask_no_more_is_no_limit_of_the_store(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MOST_REQUESTS", 10)
    async with patient_of(store) as patient:
        with pytest.raises(EdgecacheError, match="no more requests"):
            await speed.concurrency(patient)
        assert patient.learnt.connections is None


async def test_a_refusal_and_a_silence_are_no_answers(store: RunPodOrigin) -> None:
    store.fault(Error(503, "SlowDown"), key=CLIP)
    async with patient_of(store, key=CLIP) as patient:
        assert await speed.answered(patient) == "503 SlowDown"
        assert await speed.answered(patient) == ""
        await store.refuse()
        assert await speed.answered(patient) == "the origin did not answer"
