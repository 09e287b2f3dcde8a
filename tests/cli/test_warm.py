"""`edgecache warm`: what it is told, what it says, and its exit code."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edgecache.cli import app
from edgecache.cli.admin_client import AdminClient

CONFIG = """
admin: {port: 1}
origins: {main: {endpoint: "http://127.0.0.1:1", bucket: volume}}
"""
Body = dict[str, Any]


@pytest.fixture
def bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Body]:
    """What the server was asked: all of it is stored but what is called `none`."""
    asked: list[Body] = []

    def post(_: AdminClient, path: str, body: Body) -> Body:
        assert path == "/api/warm"
        asked.append(body)
        results = {"none": ("not-found", 0)}
        outcomes = [
            (one["key"], *results.get(one["key"], ("stored", 5))) for one in body["objects"]
        ]
        return {"objects": [{"key": k, "result": r, "bytes": b} for k, r, b in outcomes]}

    monkeypatch.setattr(AdminClient, "post", post)
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return asked


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["warm", *arguments], input=stdin)


def test_keys_are_warmed_and_summed_up(bodies: list[Body]) -> None:
    done = run("a", "b", "--from", "-", "--json", stdin="c\n")
    assert done.exit_code == 0
    figures = json.loads(done.stdout)
    assert figures.pop("seconds") >= 0
    assert figures == {
        "objects": 3,
        "results": {"stored": 3},
        "bytes": 15,
        "complete": True,
        "not_warmed": [],
    }
    keys = [one["key"] for body in bodies for one in body["objects"]]
    assert sorted(keys) == ["a", "b", "c"]


def test_what_is_not_in_the_cache_is_a_failure(bodies: list[Body]) -> None:
    done = run("a", "none")
    assert done.exit_code == 1
    assert "1 stored, 1 not-found" in done.stdout
    assert "not warmed: 'none': not-found" in done.stdout


def test_a_log_and_its_notes(bodies: list[Body], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('1.2.3.4 - - [x] "GET /a.png HTTP/1.1" 200 7 "-" "-"\ngarbage\n')
    done = run("--log", str(log), "--most", "5")
    assert done.exit_code == 0
    assert "1 lines tell of nothing to warm" in done.stderr
    assert bodies[0]["objects"] == [{"key": "a.png", "range": "bytes=0-1048575"}]


def test_limits_are_passed_on(bodies: list[Body]) -> None:
    assert run("a", "--rate", "8MB", "--concurrency", "2", "--evict").exit_code == 0
    assert bodies == [{"objects": [{"key": "a"}], "limit": 4_000_000, "evict": True}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what to warm"),
        (("a", "--prefix", "b"), "say what to warm"),
        (("a", "--rate", "fast"), "--rate: not a size"),
        (("--prefix", "a", "--origin", "other"), "no origin is named 'other'"),
        (("a", "--config", "none.yaml"), "none.yaml"),
        (("a", "--concurrency", "0"), "concurrency"),
        (("--log", "a", "--by", "name"), "--by"),
    ],
)
def test_wrong_usage_is_said(bodies: list[Body], arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert bodies == []


def test_a_file_that_is_not_there(bodies: list[Body]) -> None:
    done = run("--from", "none.txt")
    assert done.exit_code == 1
    assert "edgecache: none.txt: No such file" in done.stderr


def test_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    done = run("a")
    assert done.exit_code == 1
    assert "no server at http://127.0.0.1:1" in done.stderr
    assert "hint: start it with `edgecache serve`" in done.stderr
