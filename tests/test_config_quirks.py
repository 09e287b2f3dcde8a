"""The doctor's profile of a store: what is written is read, and anything else is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgecache.config_quirks import Profile, Quirks, read_quirks, write_profile
from edgecache.core.errors import ConfigError

ENDPOINT = "https://s3.example.com"
PROFILE = Profile(
    edgecache_quirks=1,
    endpoint=ENDPOINT,
    bucket="media",
    measured=datetime(2026, 11, 23, tzinfo=UTC),
    quirks=Quirks(path_safe="=+", connections=8, if_match=False),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "quirks.json"
    write_profile(path, PROFILE)
    assert read_quirks(path, ENDPOINT) == PROFILE.quirks


def changed(**changes: Any) -> str:
    return json.dumps(PROFILE.model_dump(mode="json") | changes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[]", "not a profile"),
        ("{}", "not a profile"),
        (changed(edgecache_quirks=2), "edgecache_quirks: Input should be 1"),
        (changed(quirks={"head": "odd"}), "quirks.head: Extra inputs are not permitted"),
        (changed(quirks={"path_safe": "%"}), "quirks.path_safe: String should match"),
        (changed(quirks={"connections": 0}), "quirks.connections: Input should be greater"),
        (changed(endpoint="https://other"), "measured of https://other"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "quirks.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_quirks(path, ENDPOINT)
    assert str(path) in caught.value.message


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_profile(tmp_path / "none" / "quirks.json", PROFILE)
