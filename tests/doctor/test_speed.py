"""How fast, and how much at one time: bounded, and told with what to do."""

import pytest

from edgecache.doctor import speed
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
    store.fault(Error(502), key=CLIP, range="bytes=0-0", skip=2)  # one is the read's, one a time's
    finding = await found(store, "first byte")
    assert finding.text == "502 InternalError at request 2 of 5"


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


async def test_a_refusal_and_a_silence_are_no_answers(store: RunPodOrigin) -> None:
    store.fault(Error(503, "SlowDown"), key=CLIP)
    async with patient_of(store, key=CLIP) as patient:
        assert await speed.answered(patient) == "503 SlowDown"
        assert await speed.answered(patient) == ""
        await store.refuse()
        assert await speed.answered(patient) == "the origin did not answer"
