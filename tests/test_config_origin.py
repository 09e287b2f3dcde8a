"""An origin: how its store is addressed, whose credentials sign, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgecache import config
from edgecache.config_origin import Origin, region_of
from edgecache.core.errors import ConfigError

PLAIN = {"endpoint": "https://s3.eu-west-1.amazonaws.com", "bucket": "media"}
KEYS = {"access_key": "AKIAEXAMPLE", "secret_key": "hunter2"}


def origin(**settings: Any) -> Origin:
    return Origin.model_validate(PLAIN | settings)


def refusal(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        origin(**settings)
    (problem,) = caught.value.errors()
    return f"{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}"


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://0123abc.r2.cloudflarestorage.com", "auto"),
        ("https://0123abc.eu.r2.cloudflarestorage.com", "auto"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1"),
        ("https://r2.example.com", "us-east-1"),
    ],
)
def test_regions_of_other_stores(endpoint: str, region: str) -> None:
    assert region_of(endpoint) == region


def test_a_plain_origin_has_path_style_and_its_own_keys() -> None:
    plain = origin()
    assert (plain.addressing, plain.credentials, plain.signs) == ("path", "keys", False)
    assert origin(**KEYS).signs
    assert origin(credentials="aws").signs


@pytest.mark.parametrize(
    ("credentials", "profile"), [("aws", ""), ("aws:media-reader", "media-reader")]
)
def test_credentials_may_be_found_as_aws_does(credentials: str, profile: str) -> None:
    assert origin(credentials=credentials).profile == profile


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"addressing": "host"}, "addressing: Input should be 'path' or 'virtual'"),
        ({"addressing": "virtual", "endpoint": "http://127.0.0.1:9000"}, "addressing: the endpoint is an IP address, which no bucket's name fits before"),  # noqa: E501
        ({"addressing": "virtual", "endpoint": "http://[::1]:9000"}, "addressing: the endpoint is an IP address, which no bucket's name fits before"),  # noqa: E501
        ({"addressing": "virtual", "bucket": "My_media"}, "addressing: My_media is no host's name: use addressing: path"),  # noqa: E501
        ({"addressing": "virtual", "bucket": "a.b"}, "addressing: no certificate covers a bucket with a dot in its name: use addressing: path"),  # noqa: E501
        ({"addressing": "virtual", "endpoint": "https://media.s3.amazonaws.com"}, "addressing: leave media. out of the endpoint: it is put before it"),  # noqa: E501
        ({"session_token": "t"}, "session_token: it belongs to access_key and secret_key, which are empty"),  # noqa: E501
        ({"credentials": "iam"}, "credentials: expected keys, aws, or aws:PROFILE"),
        ({"credentials": "aws:"}, "credentials: expected keys, aws, or aws:PROFILE"),
        (KEYS | {"credentials": "aws"}, "credentials: aws finds the keys elsewhere: leave access_key and secret_key empty"),  # noqa: E501
        ({"quirks": {"if_match": False}}, "quirks: expected the path of a file that edgecache doctor wrote"),  # noqa: E501
        ({"quirks": "/nowhere/x"}, "quirks: /nowhere/x: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_where_it_is_written(
    settings: dict[str, Any], problem: str
) -> None:
    assert refusal(**settings) == problem


def test_a_token_is_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    origins = {"main": PLAIN | {"session_token": "sesame", "credentials": "sesame"}}
    path.write_text(json.dumps({"origins": origins}))
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert "session_token" in caught.value.message
    assert "sesame" not in caught.value.message
    assert "sesame" not in repr(origin(**KEYS, session_token="sesame"))


# What the doctor measured


@pytest.fixture
def quirks(tmp_path: Path) -> str:
    path = tmp_path / "quirks.json"
    profile = {
        "edgecache_quirks": 1,
        "endpoint": PLAIN["endpoint"],
        "bucket": "media",
        "measured": "2026-11-23T01:02:03Z",
        "quirks": {"path_safe": "=", "connections": 16, "if_match": False},
    }
    path.write_text(json.dumps(profile))
    return str(path)


def test_what_was_measured_holds_where_nothing_is_said(quirks: str) -> None:
    measured = origin(quirks=quirks)
    assert (measured.path_safe, measured.connections) == ("=", 16)
    assert measured.quirks is not None
    assert (measured.quirks.if_match, measured.quirks.suffix_range) == (False, True)


def test_what_is_said_goes_before_what_was_measured(quirks: str) -> None:
    said = origin(quirks=quirks, path_safe="", connections=3)
    assert (said.path_safe, said.connections) == ("", 3)


def test_the_environment_goes_before_what_was_measured(
    quirks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"origins": {"main": PLAIN | {"quirks": quirks}}}))
    monkeypatch.setenv("EDGECACHE_ORIGINS__MAIN__CONNECTIONS", "5")
    loaded = config.load(path).origins["main"]
    assert (loaded.path_safe, loaded.connections) == ("=", 5)


def test_what_was_measured_of_another_store_is_refused(quirks: str) -> None:
    problem = refusal(quirks=quirks, endpoint="https://s3.example.com")
    assert problem.startswith("quirks: ")
    assert "measured of https://s3.eu-west-1.amazonaws.com" in problem
