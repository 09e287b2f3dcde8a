"""Reading: what each quirk of a store looks like to the doctor."""

import pytest

from edgecache.doctor import reading
from edgecache.doctor.finding import State
from tests.doctoring import CLIP, examined, found, patient_of
from tests.faults import Error, Fields
from tests.runpod import RunPodOrigin


async def test_a_store_as_it_should_be(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        findings = await examined(patient, "Range", "suffix range", "HEAD", "missing key")
    assert {one.state for one in findings.values()} == {State.OK}
    assert findings["HEAD"].text == "works for .mp4, .webp, .json"
    assert findings["missing key"].text == "404"


async def test_head_that_is_refused_for_media(store: RunPodOrigin) -> None:
    store.quirks.head_forbidden = True
    finding = await found(store, "HEAD")
    assert finding.state is State.NOTE
    assert finding.text == "403 for .mp4, 403 for .webp; works for .json"
    assert "never sends HEAD" in finding.hint


async def test_head_that_always_fails_is_only_noted(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        await examined(patient)
        store.fault(Error(502), key=CLIP, times=None)
        finding = await reading.head(patient)
    assert finding.state is State.NOTE
    assert finding.text == "502 for .mp4; works for .webp, .json"


async def test_ranges_that_are_ignored(store: RunPodOrigin) -> None:
    store.quirks.ignore_range = True
    async with patient_of(store) as patient:
        findings = await examined(patient, "Range", "suffix range")
    assert findings["Range"].state is State.PROBLEM
    assert "buys the whole object" in findings["Range"].hint
    assert findings["suffix range"].state is State.NOTE


async def test_ranges_that_are_others(store: RunPodOrigin) -> None:
    store.fault(Fields({"Content-Range": "bytes 0-1/300000"}), range="bytes=1-2")
    assert "another one" in (await found(store, "Range")).text
    store.fault(Error(501, "NotImplemented"), range="bytes=1-2")
    assert (await found(store, "Range")).text == "refused: 501 NotImplemented"


async def test_a_suffix_range_that_the_store_cannot_take(store: RunPodOrigin) -> None:
    store.fault(Error(400, "InvalidRange"), range="bytes=-2")
    async with patient_of(store) as patient:
        finding = (await examined(patient, "suffix range"))["suffix range"]
    assert finding.state is State.PROBLEM
    assert "origins.main.quirks" in finding.hint
    assert not patient.learnt.suffix_range


async def test_small_objects_tell_nothing_of_ranges(store: RunPodOrigin) -> None:
    store.objects.clear()
    store.put("outputs/a.txt", b"ab")
    async with patient_of(store) as patient:
        findings = await examined(patient, "Range", "suffix range")
    assert {findings[name].state for name in ("Range", "suffix range")} == {State.SKIPPED}


async def test_types_that_are_never_told(store: RunPodOrigin) -> None:
    assert ".mp4 is video/mp4" in (await found(store, "content type")).text
    store.fault(Fields({"Content-Type": "binary/octet-stream"}), times=None)
    finding = await found(store, "content type")
    assert (finding.state, "by the extension" in finding.hint) == (State.NOTE, True)


@pytest.mark.parametrize(
    ("answer", "state", "hint"),
    [
        (Error(403, "AccessDenied"), State.PROBLEM, "s3:ListBucket"),
        (Error(500, "InternalError"), State.PROBLEM, "an error here"),
        (Error(400, "InvalidArgument", "object not found"), State.NOTE, "makes a 404 of it"),
    ],
)
async def test_what_is_said_of_a_missing_key(
    store: RunPodOrigin, answer: Error, state: State, hint: str
) -> None:
    store.fault(answer, key="outputs/edgecache-doctor-", times=None)
    finding = await found(store, "missing key")
    assert (finding.state, hint in finding.hint) == (state, True)


async def test_without_odd_keys_there_is_nothing_to_say(store: RunPodOrigin) -> None:
    finding = await found(store, "odd keys")
    assert (finding.state, "--write" in finding.text) == (State.SKIPPED, True)


async def test_odd_keys_that_are_found(store: RunPodOrigin) -> None:
    store.put("outputs/a b+c=d#é.png", b"123")
    assert (await found(store, "odd keys")).text == "listed ones (1) are found"


async def test_a_character_that_must_stay_unescaped(store: RunPodOrigin) -> None:
    store.quirks.undecoded = "="
    store.put("outputs/seed=1/a b.png", b"123")
    async with patient_of(store) as patient:
        finding = (await examined(patient, "odd keys"))["odd keys"]
    assert finding.hint == "set origins.main.path_safe: '=', or use --write-profile"
    assert patient.learnt.path_safe == "="
    assert (await found(store, "odd keys", path_safe="=")).state is State.OK


async def test_keys_that_nothing_reaches(store: RunPodOrigin) -> None:
    store.quirks.undecoded = "#"
    store.put("outputs/a#b.png", b"123")
    finding = await found(store, "odd keys")
    assert finding.text == "1 of 1 keys can't be read, as 'outputs/a#b.png'"
    assert "rename" in finding.hint


async def test_the_clip_is_what_is_asked_about(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        await examined(patient)
        assert patient.key == CLIP
