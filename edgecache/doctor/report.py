"""What comes out in the end: for people, for programs, and for serving."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgecache.config_quirks import Profile, write_profile
from edgecache.core.errors import ConfigError
from edgecache.doctor.checkup import Result
from edgecache.doctor.finding import State
from edgecache.doctor.patient import Patient
from edgecache.doctor.verdict import Verdict, quirks


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    patient: Patient
    results: Sequence[Result]
    verdict: Verdict
    seconds: float

    def count(self, state: State) -> int:
        return sum(one.finding.state is state for one in self.results)

    @property
    def problems(self) -> int:
        return self.count(State.PROBLEM)


def save_profile(report: Report, path: Path) -> None:
    """:raises ConfigError: there is nothing to write, or it cannot be."""
    if not report.patient.length:
        raise ConfigError("no profile is written: nothing could be read")
    profile = Profile(
        edgecache_quirks=1,
        endpoint=report.patient.origin.endpoint,
        bucket=report.patient.origin.bucket,
        measured=datetime.fromtimestamp(int(time.time()), UTC),
        quirks=quirks(report.patient.learnt),
    )
    write_profile(path, profile)


def as_facts(report: Report) -> dict[str, Any]:
    """What --json prints: no secret is in it."""
    patient = report.patient
    names = ("endpoint", "bucket", "region", "addressing")
    return {
        "origin": {"name": patient.name} | {name: getattr(patient.origin, name) for name in names},
        "key": patient.key,
        "checks": [{"check": one.check} | asdict(one.finding) for one in report.results],
        "problems": report.problems,
        "notes": report.count(State.NOTE),
        "verdict": asdict(report.verdict),
        "quirks": quirks(patient.learnt).model_dump(),
        "requests": patient.probe.requests,
        "repetitions": patient.probe.repetitions,
        "seconds": round(report.seconds, 3),
    }
