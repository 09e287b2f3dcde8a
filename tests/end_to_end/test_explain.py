"""`edgecache explain` and `edgecache verify` as an operator types them, beside a server with
workers."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.clients import Client
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import PATIENCE, environment, eventually
from tests.end_to_end.serving import serving, settings_for
from tests.pattern import Pattern
from tests.slices import slice_files

pytestmark = pytest.mark.e2e

KEY = "outputs/clip.mp4"
CLIP = Pattern(5 * 2**16, seed=1)


def command(folder: Path, *words: str, exits: int = 0) -> str:
    """All that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "edgecache", *words, "--config", "edgecache.yaml"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == exits, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_an_object_is_explained_its_damage_found_and_mended(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    runpod_origin.put(KEY, CLIP)
    settings = settings_for(
        runpod_origin.origin.settings,
        tmp_path,
        listen={"workers": 2},
        admin={"port": free_port(), "token": "t0ken"},
        cache={"slice_size": "64KiB"},
    )
    with serving(settings, tmp_path) as server:
        for _ in range(3):
            with Client(server.url) as client:
                assert client.get(f"/{KEY}").body == CLIP.read()
            server.idle("t0ken")

        def served() -> bool:
            facts = json.loads(command(tmp_path, "explain", KEY, "--json"))
            assert facts["account"]["bought"] == CLIP.length
            return bool(facts["account"]["served"] == 3 * CLIP.length)

        eventually(served, "workers tell what they gave")
        text = command(tmp_path, "explain", KEY)
        assert "now         200, edgecache; hit; ttl=3" in text
        assert "5 of 5: 0-4" in text
        assert "t0ken" not in text
        assert "        5 slices are right" in command(tmp_path, "verify")

        slice_files(tmp_path / "cache")[0].write_bytes(b"")
        assert f"damaged: {KEY}, slice" in command(tmp_path, "verify", exits=1)
        assert "is not one: removed\n" in command(tmp_path, "verify", "--repair")
        with Client(server.url) as client:
            assert client.get(f"/{KEY}").body == CLIP.read()
        assert "purged      2" in command(tmp_path, "explain", KEY)
    assert "edgecache: no server at" in command(tmp_path, "explain", KEY, exits=1)
