"""An origin for the doctor, who does not wait before it asks again."""

import pytest

from edgecache.doctor import probe
from tests.doctoring import fill
from tests.runpod import RunPodOrigin


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def store(runpod: RunPodOrigin) -> RunPodOrigin:
    fill(runpod)
    return runpod
