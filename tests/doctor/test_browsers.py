"""What a browser could do by itself: at RunPod's nothing, elsewhere more."""

from typing import Any

import pytest

from edgecache.doctor.finding import State
from tests.conftest import Moto
from tests.doctoring import CLIP, examined, found, patient_of
from tests.faults import Fields
from tests.runpod import RunPodOrigin

ALL = ("anonymous", "presigned", "CORS", "edge cache")


def of_moto(moto: Moto) -> dict[str, Any]:
    names = ("endpoint", "region", "bucket", "access_key", "secret_key")
    return {name: getattr(moto, name) for name in names}


async def test_runpod_lets_no_browser_in(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    assert findings["anonymous"].text == "refused (401 AccessDenied): the object is private"
    assert findings["presigned"].text == "refused: 401 AccessDenied"
    assert findings["CORS"].text == "none; preflight 401"
    assert "cors.allow_origins" in findings["CORS"].hint
    learnt = patient.learnt
    assert (learnt.public, learnt.presigned, learnt.cors) == (False, False, False)


async def test_elsewhere_presigned_urls_work(moto: Moto, store: RunPodOrigin) -> None:
    moto.put(CLIP, b"0123456789")
    async with patient_of(store, **of_moto(moto)) as patient:
        findings = await examined(patient, *ALL)
    assert findings["presigned"].text == "work"
    assert findings["CORS"].state is State.OK
    assert (patient.learnt.public, patient.learnt.presigned) == (False, True)


async def test_a_public_object(moto: Moto, store: RunPodOrigin) -> None:
    moto.put(CLIP, b"0123456789")
    moto.client.put_object_acl(Bucket=moto.bucket, Key=CLIP, ACL="public-read")  # type: ignore[attr-defined]
    async with patient_of(store, **of_moto(moto)) as patient:
        findings = await examined(patient, *ALL)
    assert findings["anonymous"].state is State.NOTE
    assert findings["presigned"].state is State.SKIPPED
    assert patient.learnt.public
    nobody = of_moto(moto) | {"access_key": "", "secret_key": ""}
    async with patient_of(store, key=CLIP, **nobody) as patient:
        findings = await examined(patient, *ALL)
    assert findings["anonymous"].text == "allowed: the object is public"
    assert findings["presigned"].text == "there are no keys to sign with"


@pytest.mark.parametrize(
    ("fields", "state", "text"),
    [
        ({}, State.OK, "no sign of one"),
        ({"Server": "MinIO"}, State.OK, "no sign of one, the server is MinIO"),
        ({"cf-cache-status": "DYNAMIC"}, State.OK, "Cloudflare before the store does not keep it"),
        ({"cf-cache-status": "HIT"}, State.NOTE, "Cloudflare answered from a cache (HIT)"),
        ({"X-Cache": "Hit from cloudfront"}, State.NOTE, "something answered from a cache"),
        ({"Age": "7"}, State.NOTE, "answered from a cache (Age 7)"),
    ],
)
async def test_a_cache_before_the_store(
    store: RunPodOrigin, fields: dict[str, str | None], state: State, text: str
) -> None:
    store.fault(Fields(fields), times=None)
    finding = await found(store, "edge cache")
    assert finding.state is state
    assert text in finding.text
