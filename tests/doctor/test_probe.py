"""Raw requests: bounded in number, in bytes and in time."""

import pytest

from edgecache.core.errors import EdgecacheError, UpstreamTimeout
from edgecache.core.ranges import IntRange
from edgecache.doctor import probe as probe_module
from edgecache.doctor.probe import Failing
from edgecache.upstream import object_url
from tests.doctoring import CLIP, FETCH, patient_of
from tests.faults import Error, Reset, Stall
from tests.runpod import RunPodOrigin


async def test_a_probe_signs_what_it_sends(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        heard = await patient.probe.get(CLIP, {"Range": "bytes=0-9"})
    assert (heard.status, len(heard.body), heard.found) == (206, 10, True)
    (request,) = store.requests
    assert request.signed == ("host", "x-amz-content-sha256", "x-amz-date")
    assert request.header("user-agent") == "edgecache"


async def test_what_is_unsigned_is_unsigned(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        url = object_url(patient.origin, CLIP)
        heard = await patient.probe.send("GET", url, signed=False)
    assert heard.status == 401
    assert "authorization" not in store.requests[0].header_names


async def test_a_large_body_is_not_read_to_its_end(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        heard = await patient.probe.get(CLIP)
        assert len(heard.body) == probe_module.MOST_BODY
        assert (await patient.probe.get(CLIP, {"Range": "bytes=0-1"})).found


async def test_there_is_an_end_to_requests(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "MOST_REQUESTS", 1)
    async with patient_of(store) as patient:
        await patient.probe.get(CLIP)
        with pytest.raises(EdgecacheError, match="no more requests"):
            await patient.probe.get(CLIP)
    assert len(store.requests) == 1


async def test_a_head_that_does_not_come(store: RunPodOrigin) -> None:
    gate = store.hold(CLIP, times=None)
    quick = FETCH.model_copy(update={"first_byte_timeout": 0.1})
    async with patient_of(store, fetch=quick) as patient:
        with pytest.raises(UpstreamTimeout):
            await patient.probe.get(CLIP)
    gate.release()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 524])
async def test_what_passes_by_itself_is_asked_again(store: RunPodOrigin, status: int) -> None:
    store.fault(Error(status), key=CLIP)
    async with patient_of(store) as patient:
        assert (await patient.probe.get(CLIP)).status == 200
        assert (patient.probe.requests, patient.probe.repetitions) == (2, 1)
        store.fault(Error(status), key=CLIP)
        found, body = await patient.get(CLIP, IntRange(0, 0))  # as serving asks
        body.close()
        assert (found.status, patient.probe.repetitions) == (206, 2)


async def test_so_is_what_breaks(store: RunPodOrigin) -> None:
    store.fault(Reset(), key=CLIP, times=2)  # aiohttp mends one unseen
    async with patient_of(store) as patient:
        assert (await patient.probe.get(CLIP)).status == 200
        assert patient.probe.repetitions == 1


async def test_but_not_for_ever(store: RunPodOrigin) -> None:
    store.fault(Error(502), key=CLIP, times=None)
    async with patient_of(store) as patient:
        with pytest.raises(Failing) as caught:
            await patient.probe.get(CLIP)
    assert (caught.value.heard.status, caught.value.forward_status) == (502, 502)
    assert len(store.requests) == 4


@pytest.mark.parametrize("status", [400, 403, 404, 501])
async def test_what_would_be_said_again_is_not_asked_again(
    store: RunPodOrigin, status: int
) -> None:
    store.fault(Error(status), key=CLIP)
    async with patient_of(store) as patient:
        assert (await patient.probe.get(CLIP)).status == status
    assert len(store.requests) == 1


async def test_a_status_is_an_answer_also_where_its_body_stalls(store: RunPodOrigin) -> None:
    store.fault(Stall(after=5), key=CLIP)
    quick = FETCH.model_copy(update={"stall_timeout": 0.1})
    async with patient_of(store, fetch=quick) as patient:
        heard = await patient.probe.get(CLIP)
    assert (heard.status, len(heard.body)) == (200, 5)


async def test_the_clocks_are_compared_also_in_utc(store: RunPodOrigin) -> None:
    store.quirks.utc_dates = True
    async with patient_of(store) as patient:
        await patient.probe.get(CLIP, {"Range": "bytes=0-1"})
        assert patient.probe.skew is not None
        assert abs(patient.probe.skew) < 5
