"""The benchmarks start: each says what it measures, and an example of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["hits", "misses", "memory", "start", "profiles", "origin"])
def test_help(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"Example: python -m benchmarks.{name}" in shown.stdout


def test_a_missing_program_is_named_with_the_way_to_get_it() -> None:
    command = [sys.executable, "-m", "benchmarks.hits", "--quick"]
    shown = subprocess.run(
        command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert "apt-get install wrk" in shown.stderr
