"""`edgecache purge`: what it sends, what it says, and when it asks first."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgecache.cli import app
from edgecache.cli.admin_client import AdminError

run = CliRunner().invoke
PURGE = importlib.import_module("edgecache.cli.purge")  # the package has the command there


class Client:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.config: Path | None = None
        self.answer: dict[str, Any] | AdminError = {"purged": 1}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        if isinstance(self.answer, AdminError):
            raise self.answer
        return self.answer


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()

    def of(config: Path | None) -> Client:
        client.config = config
        return client

    monkeypatch.setattr(PURGE, "admin_client", of)
    return client


PLAIN = {"soft": False, "dry_run": False}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--key", "outputs/a b.png"], {"key": "outputs/a b.png"} | PLAIN),
        (["--prefix", "outputs/"], {"prefix": "outputs/"} | PLAIN),
        (["--tag", "cat", "--soft"], {"tag": "cat"} | PLAIN | {"soft": True}),
        (["--all", "--dry-run"], {"all": True} | PLAIN | {"dry_run": True}),
        (["--all", "--origin", "a"], {"all": True, "origin": "a"} | PLAIN),
    ],
)
def test_it_sends_what_was_said(client: Client, options: list[str], asked: dict[str, Any]) -> None:
    result = run(app, ["purge", *options, "--config", "there.yaml"])
    assert result.exit_code == 0, result.output
    assert client.asked == [("/api/purge", asked)]
    assert client.config == Path("there.yaml")


@pytest.mark.parametrize(
    "options",
    [[], ["--soft"], ["--key", "a", "--all"], ["--prefix", ""], ["--key", "a", "--tag", "b"]],
)
def test_one_thing_is_to_be_said(client: Client, options: list[str]) -> None:
    result = run(app, ["purge", *options])
    assert result.exit_code == 2
    assert client.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"purged": 1}, "purged: 1 object\n"),
        ({"purged": 0}, "purged: 0 objects\n"),
        ({"purged": "tag"}, "purged: tag x; what is left of it on disk is removed behind\n"),
        (
            {"would_purge": {"objects": 3, "bytes": 70, "keys": ["a", "b"]}},
            "would purge 3 objects, 70 bytes stored\n  a\n  b\n  and 1 more\n",
        ),
        (
            {"would_purge": {"objects": 1, "bytes": 70, "keys": ["a"]}},
            "would purge 1 object, 70 bytes stored\n  a\n",
        ),
        (
            {"would_purge": {"objects": 0, "bytes": 0, "keys": []}},
            "would purge 0 objects, 0 bytes stored\n",
        ),
    ],
)
def test_it_says_what_became_of_it(client: Client, answer: dict[str, Any], said: str) -> None:
    client.answer = answer
    assert run(app, ["purge", "--tag", "x"]).output == said
    printed = run(app, ["purge", "--tag", "x", "--json"]).output
    assert json.loads(printed) == answer


def test_softly_is_said(client: Client) -> None:
    assert run(app, ["purge", "--key", "x", "--soft"]).output == "purged softly: 1 object\n"
    client.answer = {"purged": "all"}
    printed = run(app, ["purge", "--all", "--soft", "--yes", "--origin", "a"]).output
    assert printed == "purged softly: everything of a\n", "nothing is removed"


def test_a_refusal_ends_it_with_1(client: Client) -> None:
    client.answer = AdminError("the server answered 503: not purged", hint="try again")
    result = run(app, ["purge", "--key", "x"])
    assert result.exit_code == 1
    assert "edgecache: the server answered 503: not purged\nhint: try again" in result.output


@pytest.mark.parametrize(
    ("options", "typed", "is_sent"),
    [([], "n\n", False), ([], "", False), ([], "y\n", True), (["--yes"], "", True)],
)
def test_on_a_terminal_it_asks_before_everything(
    client: Client, monkeypatch: pytest.MonkeyPatch, options: list[str], typed: str, is_sent: bool
) -> None:
    monkeypatch.setattr(PURGE, "is_terminal", lambda: True)
    result = run(app, ["purge", "--all", *options], input=typed)
    assert bool(client.asked) == is_sent
    assert result.exit_code == (0 if is_sent else 1)


def test_a_dry_run_needs_no_question(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PURGE, "is_terminal", lambda: True)
    run(app, ["purge", "--all", "--dry-run"])
    assert client.asked
