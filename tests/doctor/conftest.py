"""An origin for the doctor."""

import pytest

from tests.doctoring import fill
from tests.runpod import RunPodOrigin


@pytest.fixture
def store(runpod: RunPodOrigin) -> RunPodOrigin:
    fill(runpod)
    return runpod
