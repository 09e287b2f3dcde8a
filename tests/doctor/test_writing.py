"""Writing: what it shows, and that nothing is left of it."""

import asyncio

import pytest

from edgecache.doctor import writing as writing_module
from edgecache.doctor.finding import State
from edgecache.doctor.writing import writing
from tests.conftest import Moto
from tests.doctoring import CLIP, examined, found, patient_of
from tests.faults import Error, Fields
from tests.runpod import RunPodOrigin

OURS = "edgecache-doctor/"


def left(store: RunPodOrigin) -> list[str]:
    return [key for key in store.objects if key.startswith(OURS)]


async def test_a_store_as_it_should_be(store: RunPodOrigin) -> None:
    before = set(store.objects)
    finding = await found(store, "writing")
    assert finding.state is State.OK
    assert "all well, and removed again" in finding.text
    put = {one.key for one in store.requests if one.method == "PUT"}
    assert {key.rpartition("/")[2] for key in put} >= {"a=b.txt", "a#b.txt", "a b.txt", "aéb.txt"}
    assert all(key.startswith(OURS) for key in put)
    assert set(store.objects) == before


async def test_on_another_store(moto: Moto, store: RunPodOrigin) -> None:
    moto.put(CLIP, b"0123456789")
    settings = {"endpoint": moto.endpoint, "bucket": moto.bucket, "region": moto.region}
    assert (await found(store, "writing", **settings)).state is State.OK


async def test_escapes_that_are_taken_literally(store: RunPodOrigin) -> None:
    store.quirks.undecoded = "=+"
    async with patient_of(store) as patient:
        finding = (await examined(patient, "writing"))["writing"]
    assert finding.text == "escapes of = + are taken literally"
    assert finding.hint == "set origins.main.path_safe: '+=', or use --write-profile"
    assert patient.learnt.path_safe == "+="
    assert left(store) == []
    assert (await found(store, "writing", path_safe="+=")).state is State.OK


async def test_a_character_that_cannot_be_had(store: RunPodOrigin) -> None:
    store.quirks.undecoded = "#"
    finding = await found(store, "writing")
    assert finding.text == "keys with # can't be read"


async def test_a_type_that_is_not_kept(store: RunPodOrigin) -> None:
    store.fault(Fields({"Content-Type": "binary/octet-stream"}), key=OURS, times=None)
    finding = await found(store, "writing")
    assert finding.text == "the type is not kept: image/webp became binary/octet-stream"


async def test_an_etag_that_stays(store: RunPodOrigin) -> None:
    store.fault(Fields({"ETag": '"same"'}), key=OURS, times=None)
    finding = await found(store, "writing")
    assert (finding.state, "new names" in finding.hint) == (State.PROBLEM, True)


async def test_an_object_that_cannot_be_replaced(store: RunPodOrigin) -> None:
    store.fault(Error(403, "AccessDenied"), key=OURS, skip=2)  # the first PUT and its GET pass
    finding = await found(store, "writing")
    assert finding.state is State.PROBLEM
    assert "PUT edgecache-doctor/" in finding.text
    assert finding.text.endswith("403 AccessDenied")


async def test_a_store_that_fails_now_is_no_store_that_cannot(store: RunPodOrigin) -> None:
    store.quirks.undecoded = "="
    store.fault(Error(502), key=OURS, skip=4, times=None)  # what it is asked of the names
    async with patient_of(store) as patient:
        finding = (await examined(patient, "writing"))["writing"]
        assert (finding.state, patient.learnt.path_safe) == (State.PROBLEM, None)
    assert "could not be removed" in finding.text


async def test_keys_that_may_only_read(store: RunPodOrigin) -> None:
    store.fault(Error(403, "AccessDenied"), key=OURS, times=None)
    finding = await found(store, "writing")
    assert finding.state is State.PROBLEM
    assert "403 AccessDenied" in str(finding)


async def test_without_keys_nothing_is_written(store: RunPodOrigin) -> None:
    async with patient_of(store, access_key="", secret_key="") as patient:
        assert (await writing(patient)).state is State.SKIPPED
    assert store.requests == []


async def test_stopped_in_the_middle_it_clears_up(store: RunPodOrigin) -> None:
    gate = store.hold(OURS, skip=3)  # the third PUT has been heard, its answer has not come
    async with patient_of(store) as patient:
        task = asyncio.gather(writing(patient))
        await gate.reached.wait()
        assert left(store)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.release()
    await store.settled()
    assert left(store) == []


async def test_stopped_while_it_clears_up_it_goes_on(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        sandbox = writing_module.Sandbox(patient)
        await sandbox.write("a.txt", b"a")
        assert left(store)
        gate = store.hold(OURS)
        task = asyncio.gather(writing_module.cleared(sandbox))
        await gate.reached.wait()
        task.cancel()
        gate.release()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert left(store) == []


async def test_what_cannot_be_removed_is_named(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        sandbox = writing_module.Sandbox(patient)
        await sandbox.write("a.txt", b"a")
        await store.refuse()
        (url,) = await sandbox.clear()
    assert url.endswith(f"{sandbox.prefix}a.txt")


async def test_an_origin_that_is_lost_meanwhile_leaves_a_note_of_what_is_there(
    store: RunPodOrigin, caplog: pytest.LogCaptureFixture
) -> None:
    gate = store.hold(OURS, skip=2)
    async with patient_of(store) as patient:
        task = asyncio.gather(writing(patient))
        await gate.reached.wait()
        await store.refuse()
        (finding,) = await task
    assert finding.text.endswith("could not be removed")
    assert f"{OURS}" in finding.hint
    assert "replaced.webp" in caplog.text
