"""What comes out: a profile that serving reads, and JSON without a secret."""

import json
from pathlib import Path

import pytest

from edgecache.config import Costs
from edgecache.config_quirks import read_quirks
from edgecache.core.errors import ConfigError
from edgecache.doctor.checkup import CHECKS, examine
from edgecache.doctor.patient import Patient
from edgecache.doctor.report import Report, as_facts, save_profile
from edgecache.doctor.verdict import verdict
from tests.doctoring import patient_of
from tests.runpod import RunPodOrigin


async def report_of(patient: Patient) -> Report:
    results = await examine(patient, CHECKS, 5.0)
    end = verdict(patient.learnt, Costs(), None)
    return Report(patient=patient, results=results, verdict=end, seconds=1.0)


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_profile_is_what_serving_reads(store: RunPodOrigin, tmp_path: Path) -> None:
    store.quirks.undecoded = "="
    store.put("outputs/seed=1/a.png", b"123")
    path = tmp_path / "quirks.json"
    async with patient_of(store) as patient:
        save_profile(await report_of(patient), path)
    assert read_quirks(path, store.endpoint).path_safe == "="
    async with patient_of(store, quirks=str(path)) as patient:
        assert patient.origin.path_safe == "="
        report = await report_of(patient)
        assert report.problems == 0
        save_profile(report, path)  # measured again, with what was measured before
    assert read_quirks(path, store.endpoint).path_safe == "="


async def test_of_what_could_not_be_read_there_is_no_profile(
    store: RunPodOrigin, tmp_path: Path
) -> None:
    await store.refuse()
    async with patient_of(store) as patient:
        with pytest.raises(ConfigError, match="nothing could be read"):
            save_profile(await report_of(patient), tmp_path / "quirks.json")
    assert files(tmp_path) == []


async def test_json_has_all_of_it_and_no_secret(store: RunPodOrigin) -> None:
    async with patient_of(store, session_token="sesame") as patient:
        text = json.dumps(as_facts(await report_of(patient)))
    facts = json.loads(text)
    assert set(facts) == {
        "origin",
        "key",
        "checks",
        "problems",
        "notes",
        "verdict",
        "quirks",
        "requests",
        "repetitions",
        "seconds",
    }
    assert [set(one) for one in facts["checks"]] == [
        {"check", "state", "text", "hint", "facts"} for _ in CHECKS
    ]
    assert facts["requests"] == len(store.requests)
    for secret in (store.secret_key, store.access_key, "sesame", "X-Amz-Signature", "Credential"):
        assert secret not in text
