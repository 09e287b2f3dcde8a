"""Raw requests: bounded in number, in bytes and in time."""

import pytest

from edgecache.core.errors import EdgecacheError, UpstreamTimeout
from edgecache.doctor import probe as probe_module
from edgecache.upstream import object_url
from tests.doctoring import CLIP, FETCH, patient_of
from tests.faults import Stall
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
    gate = store.hold(CLIP)
    quick = FETCH.model_copy(update={"first_byte_timeout": 0.1})
    async with patient_of(store, fetch=quick) as patient:
        with pytest.raises(UpstreamTimeout):
            await patient.probe.get(CLIP)
    gate.release()


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
