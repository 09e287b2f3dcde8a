"""`edgecache warm` against a server with workers: from a listing, stopped, and begun again."""

import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Moto
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import PATIENCE, Program, environment
from tests.end_to_end.serving import Edgecache, Settings, serving, settings_for, write_settings
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

SLICE = 2**16
SMALL = {"slice_size": "64KiB"}
RUNS = {"first_run": "64KiB", "image_run": "64KiB", "max_run": "64KiB"}


@contextmanager
def warming(
    server: Edgecache, settings: Settings, folder: Path, *arguments: str
) -> Iterator[Program]:
    known = folder / "known"
    known.mkdir(exist_ok=True)
    port = urlsplit(server.admin_url).port
    file = write_settings({**settings, "admin": {"port": port}}, known)
    command = (sys.executable, "-m", "edgecache", "warm", "--config", str(file), "--json")
    program = Program([*command, *arguments], env=environment(), cwd=folder)
    try:
        yield program
    finally:
        program.kill()


def warm(
    server: Edgecache, settings: Settings, folder: Path, *arguments: str
) -> tuple[int, dict[str, Any]]:
    with warming(server, settings, folder, *arguments) as program:
        return program.ended(), json.loads(str(program.stdout))


def test_a_prefix_is_warm_afterwards(moto: Moto, tmp_path: Path) -> None:
    for number in range(30):
        moto.put(f"outputs/{number}.png", bytes([number]) * 70_000, "image/png")
    moto.put("private/a.png", b"x")
    names = ("endpoint", "bucket", "access_key", "secret_key")
    origin = {name: getattr(moto, name) for name in names}
    settings = settings_for(origin, tmp_path, listen={"workers": 2}, cache=SMALL)
    with serving(settings, tmp_path) as server:
        status, figures = warm(server, settings, tmp_path, "--prefix", "outputs/")
        assert (status, figures["results"]) == (0, {"stored": 30})
        assert figures["bytes"] == 30 * 70_000
        bought = server.total("edgecache_origin_body_bytes_total")
        assert bought == server.total("edgecache_origin_body_bytes_total", reason="warm")
        _, figures = warm(server, settings, tmp_path, "--prefix", "outputs/")
        assert figures["results"] == {"hit": 30}
        with urllib.request.urlopen(f"{server.url}/outputs/7.png", timeout=PATIENCE) as answer:
            assert answer.read() == bytes([7]) * 70_000
            assert "hit" in answer.headers["Cache-Status"]
        assert server.total("edgecache_origin_body_bytes_total") == bought


def test_it_is_stopped_and_goes_on(runpod_origin: OriginThread, tmp_path: Path) -> None:
    data = Pattern(6 * SLICE)
    origin = runpod_origin
    origin.put("outputs/warm-a.bin", data)
    settings = settings_for(
        origin.origin.settings, tmp_path, listen={"workers": 2}, cache=SMALL, fetch=RUNS
    )
    with serving(settings, tmp_path) as server:
        with (
            origin.held("outputs/warm-a.bin", after=SLICE // 2) as held,
            warming(
                server, settings, tmp_path, "outputs/warm-a.bin", "outputs/warm-b.bin"
            ) as program,
        ):
            held.wait()
            program.signal(signal.SIGINT)
            assert program.ended() == 130
            assert not json.loads(str(program.stdout))["complete"]
        status, figures = warm(server, settings, tmp_path, "outputs/warm-a.bin")
        assert (status, figures["complete"]) == (0, True)
        server.idle()
        assert server.total("edgecache_origin_body_bytes_total") <= data.length + 2 * SLICE
