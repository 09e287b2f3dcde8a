"""Conditions, ETags and dates as stores have them."""

from collections.abc import Callable

import pytest

from edgecache.doctor.finding import State
from tests import s3
from tests.doctoring import CLIP, examined, found, patient_of
from tests.faults import Fields
from tests.runpod import RunPodOrigin

ALL = ("If-Match", "If-None-Match", "ETag", "dates")


async def test_a_store_as_it_should_be(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    assert [findings[name].text for name in ALL] == [
        "honoured",
        "304 for what has not changed",
        "strong, an MD5",
        "end in GMT, as HTTP has it",
    ]


async def test_conditions_that_are_ignored(store: RunPodOrigin) -> None:
    store.quirks.ignore_conditionals = True
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    assert findings["If-Match"].state is findings["If-None-Match"].state is State.NOTE
    assert "compares the ETag" in findings["If-Match"].hint
    assert (patient.learnt.if_match, patient.learnt.if_none_match) == (True, True)


async def test_conditions_that_break_the_request(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(header: Callable[[str], str | None], _: object) -> int | None:
        return 412 if header("if-match") or header("if-none-match") else None

    monkeypatch.setattr(s3, "precondition_status", refuse)
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    for name in ("If-Match", "If-None-Match"):
        assert findings[name].state is State.PROBLEM
        assert "origins.main.quirks" in findings[name].hint
    assert (patient.learnt.if_match, patient.learnt.if_none_match) == (False, False)


async def test_a_cache_that_says_304_to_everything(
    store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchanged(header: Callable[[str], str | None], _: object) -> int | None:
        return 304 if header("if-none-match") else None

    monkeypatch.setattr(s3, "precondition_status", unchanged)
    finding = await found(store, "If-None-Match")
    assert (finding.state, finding.text) == (State.PROBLEM, "304 also to another ETag")


@pytest.mark.parametrize(
    ("etag", "text"),
    [
        ("a" * 32, "strong, an MD5"),
        ("0123-4", "strong, of a multipart upload"),
        ("v1", "strong"),
    ],
)
async def test_forms_of_etags(store: RunPodOrigin, etag: str, text: str) -> None:
    store.put(CLIP, b"12345", etag=etag)
    assert (await found(store, "ETag", key=CLIP)).text == text


async def test_a_weak_etag(store: RunPodOrigin) -> None:
    store.quirks.weak_etags = True
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    assert (findings["ETag"].state, "Safari" in findings["ETag"].hint) == (State.NOTE, True)
    assert findings["If-Match"].state is State.SKIPPED


async def test_without_an_etag(store: RunPodOrigin) -> None:
    store.quirks.no_etag = True
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    assert "Last-Modified" in findings["ETag"].hint
    assert findings["If-None-Match"].state is State.SKIPPED
    store.quirks.no_last_modified = True
    async with patient_of(store) as patient:
        findings = await examined(patient, *ALL)
    assert findings["ETag"].state is State.PROBLEM
    assert "nothing can be stored" in findings["ETag"].hint
    assert findings["dates"].state is State.NOTE


async def test_an_etag_that_moves(store: RunPodOrigin) -> None:
    store.change_after(CLIP, 1, b"other bytes than before")
    finding = await found(store, "ETag")
    assert (finding.state, "being written" in finding.hint) == (State.PROBLEM, True)


async def test_dates_in_utc(store: RunPodOrigin) -> None:
    store.quirks.utc_dates = True
    finding = await found(store, "dates")
    assert (finding.state, finding.text) == (State.NOTE, "end in UTC instead of GMT")
    assert "last-modified and date" in finding.hint


async def test_dates_that_are_none(store: RunPodOrigin) -> None:
    store.fault(Fields({"Last-Modified": "yesterday"}), times=None)
    assert (await found(store, "dates")).text == "no HTTP dates: yesterday"
