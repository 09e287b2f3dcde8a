"""May we read: each fault of credentials, clock, region and bucket has its row and its hint."""

import time
from typing import Any

import pytest

from edgecache.doctor.access import parse_listing
from edgecache.doctor.finding import State
from edgecache.doctor.patient import Listed
from tests.conftest import Moto
from tests.doctoring import CLIP, examined, found, patient_of
from tests.faults import Error, Fields
from tests.runpod import RunPodOrigin

SKEWED = 7_200.0


async def test_a_key_is_found_by_listing(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        findings = await examined(patient)
    assert findings["listing"].text == "3 objects on a page: .json, .mp4, .webp"
    assert findings["read"].text == f"{CLIP}, 300000 bytes, signed"
    assert all(not one.key.startswith("private/") for one in patient.listed)


@pytest.mark.parametrize(
    ("settings", "text", "hint"),
    [
        ({"secret_key": "rps_WRONG"}, "SignatureDoesNotMatch", "check secret_key and region"),
        ({"region": "us-east-1"}, "SignatureDoesNotMatch", "check secret_key and region"),
        ({"access_key": "user_none"}, "AccessDenied", "may not read here"),
        ({"access_key": "", "secret_key": ""}, "401 AccessDenied", "may not read here"),
        ({"bucket": "another"}, "400 InvalidArgument", "check endpoint and bucket"),
    ],
)
async def test_what_the_store_refuses_is_explained(
    store: RunPodOrigin, settings: dict[str, Any], text: str, hint: str
) -> None:
    async with patient_of(store, key=CLIP, **settings) as patient:
        findings = await examined(patient)
    assert findings["read"].state is State.PROBLEM
    assert text in findings["read"].text
    assert hint in findings["read"].hint


async def test_no_such_bucket(moto: Moto, store: RunPodOrigin) -> None:
    async with patient_of(store, endpoint=moto.endpoint, bucket="missing") as patient:
        finding = (await examined(patient))["listing"]
    assert finding.text == "refused: 404 NoSuchBucket"
    assert "check bucket and endpoint" in finding.hint


async def test_a_clock_that_is_hours_off_is_refused(store: RunPodOrigin) -> None:
    store.now = lambda: time.time() + SKEWED
    async with patient_of(store, key=CLIP) as patient:
        finding = (await examined(patient))["read"]
    assert finding.text == "refused: 403 RequestTimeTooSkewed"
    assert "this machine's clock is wrong" in finding.hint


@pytest.mark.parametrize(
    ("off", "state"),
    [(0, State.OK), (120, State.NOTE), (1800, State.PROBLEM), (-1800, State.PROBLEM)],
)
async def test_a_clock_that_is_minutes_off(store: RunPodOrigin, off: float, state: State) -> None:
    """RunPod takes it; AWS does not."""
    store.now = lambda: time.time() + off
    finding = await found(store, "clock")
    assert finding.state is state
    assert ("NTP" in finding.hint) is (state is not State.OK)
    if off:
        assert ("behind" if off > 0 else "ahead of") in finding.text


async def test_without_a_date(store: RunPodOrigin) -> None:
    store.fault(Fields({"Date": None}), times=None)
    assert (await found(store, "clock")).state is State.NOTE


async def test_a_listing_that_is_refused_does_no_harm_to_whom_gives_a_key(
    store: RunPodOrigin,
) -> None:
    store.quirks.lists = False
    async with patient_of(store, key=CLIP) as patient:
        findings = await examined(patient)
    assert findings["listing"].state is State.NOTE
    assert findings["read"].state is State.OK


async def test_a_listing_that_is_refused_asks_for_a_key(store: RunPodOrigin) -> None:
    store.fault(Error(403, "AccessDenied"), times=None)
    async with patient_of(store) as patient:
        findings = await examined(patient)
    assert "--key" in findings["listing"].hint
    assert findings["read"].text == "no key is known"
    assert "--key" in findings["read"].hint


async def test_nothing_public_is_listed(store: RunPodOrigin) -> None:
    store.objects.clear()
    async with patient_of(store) as patient:
        finding = (await examined(patient))["listing"]
    assert (finding.state, finding.text) == (State.PROBLEM, "nothing below 'outputs/'")
    assert "access.public" in finding.hint


async def test_a_key_that_is_not_there(store: RunPodOrigin) -> None:
    finding = await found(store, "read", key="outputs/none.png")
    assert (finding.text, finding.hint[:13]) == ("refused: 404 NoSuchKey", "check the key")


async def test_an_empty_object(store: RunPodOrigin) -> None:
    store.put("outputs/empty.png", b"")
    finding = await found(store, "read", key="outputs/empty.png")
    assert finding.text == "the object is empty"


async def test_an_answer_that_serving_would_refuse(store: RunPodOrigin) -> None:
    store.fault(Fields({"Content-Range": "bytes 5-5/300000"}), key=CLIP, times=None)
    finding = await found(store, "read")
    assert finding.text == "the origin answered with another range than was asked for"


async def test_another_region_is_told(store: RunPodOrigin) -> None:
    assert (await found(store, "region")).text == "EU-RO-1, as the signature holds"
    store.fault(Fields({"x-amz-bucket-region": "eu-west-1"}), times=None)
    finding = await found(store, "region")
    assert (finding.state, finding.hint) == (State.NOTE, "set region: eu-west-1")


async def test_the_other_addressing_is_tried(store: RunPodOrigin) -> None:
    assert "virtual cannot be" in (await found(store, "addressing")).text


@pytest.mark.usefixtures("hosts")
async def test_the_other_addressing_of_a_store_that_has_names(
    moto: Moto, store: RunPodOrigin
) -> None:
    moto.put(CLIP, b"0123456789")
    port = moto.endpoint.rpartition(":")[2]
    named = {"endpoint": f"http://s3.test:{port}", "bucket": moto.bucket, "addressing": "virtual"}
    finding = await found(store, "addressing", **named)
    assert finding.text == "virtual; path is refused (404 NoSuchBucket)"


def test_a_listing_is_read_with_and_without_a_namespace() -> None:
    body = (
        b'<ListBucketResult xmlns="x"><Contents><Key>outputs/</Key><Size>0</Size></Contents>'
        b"<Contents><Key>outputs/a&amp;b=c</Key><Size>7</Size></Contents>"
        b"<Contents><Key>other</Key></Contents><Contents><Key>outputs/e</Key></Contents>"
        b"<Contents><Key>outputs/z.png</Key><Size>3</Size></Contents>"
    )
    assert parse_listing(body, "outputs/") == [
        Listed("outputs/z.png", 3),
        Listed("outputs/a&b=c", 7),
        Listed("outputs/e", 0),
    ]
    assert parse_listing(b"<html>", "") == []
