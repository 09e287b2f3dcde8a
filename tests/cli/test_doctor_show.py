"""The table as it is read: what a person sees who runs the doctor against RunPod's store."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from edgecache.cli.doctor_show import show, table
from edgecache.config import Costs
from edgecache.doctor.checkup import CHECKS, Result, examine
from edgecache.doctor.finding import note, ok
from edgecache.doctor.report import Report
from edgecache.doctor.verdict import verdict
from tests.doctoring import fill, patient_of
from tests.runpod import RunPodOrigin

TRANSCRIPT = Path(__file__).parent.parent / "data" / "doctor.txt"


def masked(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"[0-9.]+ [kMG]?B/s", "N MB/s", text)
    text = re.sub(r"[0-9.]+ (m?s\b)", r"N \1", text)
    return re.sub(r"(127\.0\.0\.1:|port )[0-9]+", r"\1PORT", text)


async def test_a_transcript(runpod: RunPodOrigin, capsys: pytest.CaptureFixture[str]) -> None:
    fill(runpod)
    quirks = runpod.quirks
    quirks.head_forbidden = quirks.utc_dates = quirks.missing_as_400 = True
    quirks.cloudflare_fields, quirks.undecoded = True, "="
    runpod.put("outputs/seed=1/a.png", b"123")
    async with patient_of(runpod) as patient:
        results = await examine(patient, CHECKS, 5.0)
        patient.learnt.first_byte = 0.032  # else the lines might break elsewhere
        end = verdict(patient.learnt, Costs(), None)
        show(Report(patient=patient, results=results, verdict=end, seconds=1.0))
    text = capsys.readouterr().out
    assert masked(text) == TRANSCRIPT.read_text("utf-8")
    assert max(map(len, text.splitlines())) <= 100


async def test_that_it_had_to_ask_again(
    runpod: RunPodOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    async with patient_of(runpod) as patient:
        patient.probe.requests, patient.probe.repetitions = 9, 2
        end = verdict(patient.learnt, Costs(), None)
        show(Report(patient=patient, results=[], verdict=end, seconds=1.0))
    assert "9 requests (2 of them again) in 1.0 s" in capsys.readouterr().out


def test_what_a_terminal_would_act_on_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results = [Result("a", ok("\x1b[2Jx")), Result("b", note("[red]y", "\x07do"))]
    Console(width=80, markup=False).print(table(results))
    text = capsys.readouterr().out
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "[red]y" in text
