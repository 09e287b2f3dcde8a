"""`edgecache demo` as its users start it: a process, a terminal or a pipe, and Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from edgecache.cli import app
from edgecache.demo.samples import PAGE, load

COMMAND = (sys.executable, "-m", "edgecache", "demo")
PATIENCE = 30.0  # seconds; a machine under load


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As on a machine where edgecache serves a real volume: the demo must keep off it."""
    return os.environ | {
        "TMPDIR": str(tmp_path),
        "EDGECACHE_CACHE__DIR": str(tmp_path / "real-cache"),
        "EDGECACHE_LISTEN__PORT": "1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "COLUMNS": "80",
    }


def run_once(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--once", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def running(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A demo that stays up, in a process group of its own, as a terminal would start it."""
    with subprocess.Popen(
        [*COMMAND, "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if words in line:
            return read
    raise AssertionError(f"it ended without {words!r}:\n{read}")


def test_once_shows_what_was_saved(environment: dict[str, str], tmp_path: Path) -> None:
    ended = run_once(environment, "--port", "0")
    assert (ended.returncode, ended.stderr) == (0, "")
    for words in ("Gallery, 3 visitors", "Seeks", "New clip, 20 at once", "Unchanged? (304)"):
        assert words in ended.stdout
    assert re.search(r"^All +90 +\d\.\d\d MB +\d\.\d\d MB +[789]\d%", ended.stdout, re.M)
    assert "\x1b" not in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_line_of_figures_and_a_taken_port_makes_it_the_next(
    environment: dict[str, str], taken: int
) -> None:
    ended = run_once(environment, "--port", str(taken), "--json")
    assert ended.returncode == 0
    assert f"(port {taken} is taken)" in ended.stderr
    told = json.loads(ended.stdout)
    served = urlsplit(told["urls"]["gallery"]).port
    assert served is not None
    assert taken < served < taken + 100
    steps = {step["title"]: step for step in told["results"]}
    sizes = {key: len(data) for key, data in load().items()}
    gallery = sum(sizes[key] for key in PAGE)
    assert steps["Gallery, 3 visitors"]["client_bytes"] == 3 * gallery
    assert steps["Gallery, 3 visitors"]["origin_bytes"] == gallery
    assert steps["New clip, 20 at once"]["client_bytes"] == 20 * sizes["outputs/lava.mp4"]
    assert steps["New clip, 20 at once"]["origin_bytes"] == sizes["outputs/lava.mp4"]
    assert steps["Repeat views"]["origin_bytes"] == 0
    assert len(steps["Unchanged? (304)"]["warm"]) == 11
    totals = told["totals"]
    assert totals["requests"] == sum(step["requests"] for step in told["results"])
    for name in ("client_bytes", "origin_bytes"):
        assert totals[name] == sum(step[name] for step in told["results"])


def test_it_stays_up_until_ctrl_c_and_ends_cleanly(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    shown = read_until(running, "Ctrl-C ends it.")
    links = re.findall(r"http://127\.0\.0\.1:\d+/\S+", shown)
    assert len(links) == 6  # the last is the curl command's
    for link in links:
        with urllib.request.urlopen(link) as response:
            assert response.status == 200
    os.killpg(running.pid, signal.SIGINT)
    rest, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode, errors) == (0, "")
    assert "Stopping" in rest
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(links[0])


def test_a_signal_before_the_table_is_clean_too(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    read_until(running, "Starting")
    os.killpg(running.pid, signal.SIGTERM)
    rest, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode, errors) == (130, "")
    assert "All" not in rest
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_sees_progress(environment: dict[str, str]) -> None:
    screen, terminal = pty.openpty()
    command = [*COMMAND, "--once", "--port", "0"]
    with subprocess.Popen(
        command, env=environment | {"TERM": "xterm"}, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        seen = drain(screen)
    assert process.returncode == 0
    for words in (b"Starting an embedded S3", b"Gallery, 3 visitors", b"/90", b"Warm"):
        assert words in seen
    assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h")  # the cursor is back


def drain(screen: int) -> bytes:
    """All that is written to a terminal until its last writer has gone."""
    seen = b""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if not select.select([screen], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(screen, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not data:
            break
        seen += data
    os.close(screen)
    return seen


def test_without_moto_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto.server", None)
    ended = CliRunner().invoke(app, ["demo", "--once"])
    assert ended.exit_code == 2
    assert "pip install 'edgecache[demo]'" in ended.output


def test_help_has_an_example() -> None:
    ended = CliRunner().invoke(app, ["demo", "--help"])
    assert ended.exit_code == 0
    assert "Example: edgecache demo" in ended.output
