"""A missing program can't hide from CI, and no test sees another's objects or time."""

import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import FakeClock, Moto, require


def listing(moto: Moto) -> str:
    with urllib.request.urlopen(f"{moto.endpoint}/{moto.bucket}") as response:
        return str(response.read(), "utf-8")


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_program_skips_on_a_laptop_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no-such-program is not installed"):
        require("no-such-program")


def test_a_program_that_is_there_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable)
    monkeypatch.setenv("PATH", str(python.parent))
    assert require(python.name) == sys.executable


def test_the_clock_moves_only_when_told_to(clock: FakeClock) -> None:
    before = clock()
    assert clock() == before
    clock.advance(3600)
    assert clock() == before + 3600


@pytest.mark.parametrize("key", ["first", "second"])
def test_moto_starts_empty_for_every_test(moto: Moto, key: str) -> None:
    assert "<Key>" not in listing(moto)
    moto.put(f"outputs/{key}.txt", key.encode(), "text/plain")
    assert listing(moto).count("<Key>") == listing(moto).count(f"<Key>outputs/{key}.txt</Key>") == 1
