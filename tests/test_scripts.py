"""scripts/ and the lock files: what a fresh machine runs and installs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

ROOT = Path(__file__).parent.parent


# Lock files


def packages(lock: str) -> dict[str, str]:
    """Each package's lines (version, marker, hashes), by its name."""
    text = (ROOT / lock).read_text("utf-8")
    entries = re.findall(r"^[a-z0-9].*(?:\n[ ].*)*", text, flags=re.M)
    return {re.split(r"[=<>~! ]", entry)[0]: entry for entry in entries}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-run.lock"])
def test_every_package_is_pinned_with_hashes_and_no_index_is_named(lock: str) -> None:
    for name, entry in packages(lock).items():
        assert re.match(rf"{name}==[^ ]+ ", entry)
        assert "--hash=sha256:" in entry
    assert not re.search(r"^-|://| @ ", (ROOT / lock).read_text("utf-8"), flags=re.M)


def test_the_image_has_the_versions_that_were_tested_and_no_test_tools() -> None:
    tested, shipped = packages("requirements.lock"), packages("requirements-run.lock")
    assert {name: tested.get(name) for name in shipped} == shipped
    assert {"aiohttp", "diskcache", "uvloop"} <= shipped.keys()
    assert shipped.keys().isdisjoint({"pytest", "mypy", "ruff", "moto", "boto3", "hatchling"})


# Scripts

SCRIPTS = ["scripts/install", "scripts/demo", "scripts/test", "scripts/check", "scripts/lock",
           ".ci/run"]  # fmt: skip


def test_scripts_are_clean() -> None:
    command = [require("shellcheck"), *(str(ROOT / script) for script in SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_an_old_python_is_told_so(tmp_path: Path) -> None:
    """On a copy, so that this checkout's .venv is not touched."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/install", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "scripts" / "install"],
        env=os.environ | {"PYTHON": str(old)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "edgecache needs Python 3.11 or newer, and found: Python 3.9.1" in done.stderr
    assert not (tmp_path / ".venv").exists()
