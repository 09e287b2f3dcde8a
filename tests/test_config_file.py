"""The settings file: YAML read once, variables expanded once, and no word of it in a problem."""

import traceback
from pathlib import Path

import pytest

from edgecache.config_file import read_file
from edgecache.core.errors import ConfigError


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABSENT", raising=False)
    for name, value in {"NAME": "media", "EMPTY": "", "NESTED": "${NAME}"}.items():
        monkeypatch.setenv(name, value)


def read(text: str) -> tuple[dict[str, object], dict[str, str]]:
    path = Path("config.yaml")
    path.write_text(text, "utf-8")
    problems: dict[str, str] = {}
    return read_file(path, {"log", "cache"}, problems), problems


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("plain $NAME $ {NAME}", "plain $NAME $ {NAME}"),
        ("${NAME}", "media"),
        ("x-${NAME}-y", "x-media-y"),
        ("${NAME}.${NAME}", "media.media"),
        ("${NAME:-other}", "media"),
        ("${EMPTY}", ""),
        ("${ABSENT:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${ABSENT:-}", ""),
        ("${ABSENT:-a:-b}", "a:-b"),
        ("${NESTED}", "${NAME}"),  # once: what a variable holds is taken as it is
    ],
)
def test_variables_expand_in_values(value: str, expanded: str) -> None:
    assert read(f"log: {{file: '{value}', list: ['{value}'], port: 1}}") == (
        {"log": {"file": expanded, "list": [expanded], "port": 1}},
        {},
    )


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("${ABSENT}", "the environment has no ABSENT"),
        ("${NAME}${ABSENT}", "the environment has no ABSENT"),
        ("${}", "${ begins a variable: write ${NAME} or ${NAME:-default}"),
        ("${1}", "${ begins a variable: write ${NAME} or ${NAME:-default}"),
        ("${NAME", "${ begins a variable: write ${NAME} or ${NAME:-default}"),
        ("${NAME-x}", "${ begins a variable: write ${NAME} or ${NAME:-default}"),
    ],
)
def test_a_variable_that_does_not_expand_is_a_problem_at_its_path(value: str, rule: str) -> None:
    _, problems = read(f"log: {{a: ok, b: ['{value}']}}")
    assert problems == {"log.b[0]": rule}


def test_empty_sections_are_left_to_their_defaults_and_unknown_ones_named() -> None:
    assert read("cache:\n  # size: 1GiB\nlog: {level: info}\ncahce: {size: 1}\non: 1") == (
        {"log": {"level": "info"}},
        {"cahce": "there is no such setting", "True": "there is no such setting"},
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_sets_nothing(text: str) -> None:
    assert read(text) == ({}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("log: [", ", line 1, column 7: not YAML: expected the node content, but found"),
        ("a: 1\nb: 2\na: 3", ", line 3, column 1: not YAML: the same key twice"),
        ("log: {size: 1, size: 2}", ", line 1, column 16: not YAML: the same key twice"),
        ("[1, 2]: x", ", line 1, column 1: not YAML: found unhashable key"),
        ("a: \x00", ": not YAML: not text"),
        ("- log", ": expected sections like `listen:`, found list"),
        ("log", ": expected sections like `listen:`, found str"),
    ],
)
def test_what_is_not_a_settings_file_is_told_where(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.message.startswith("config.yaml" + message)


@pytest.mark.parametrize("content", [None, b"a: \xff"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"named\.yaml: cannot be read"):
        read_file(path, set(), {})


@pytest.mark.parametrize(
    "text",
    [
        "secret_key: 'hunter2",
        "secret_key: *hunter2",
        "secret_key: !hunter2 x",
        "secret_key: !!python/name:hunter2.x y",
        "secret_key: hunter2: x",
        "{secret_key: hunter2]",
        "{hunter2: 1, hunter2: 2}",
        "hunter2",
    ],
)
def test_no_problem_quotes_the_file(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in caught.value.hint
