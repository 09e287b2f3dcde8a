"""`edgecache doctor` as a program: what it prints, with which code it ends, how it is stopped."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgecache.cli import app
from edgecache.cli.doctor import origin_named, traffic_of
from edgecache.config import Config
from edgecache.core.errors import ConfigError
from tests.conftest import Moto
from tests.doctoring import CLIP, fill
from tests.runpod import RunPodOrigin

LOG = """\
1.2.3.4 - - [x] "GET /outputs/a.png HTTP/1.1" 200 700 "-" "-"
1.2.3.4 - - [x] "GET /outputs/a.png HTTP/1.1" 200 700 "-" "-"
1.2.3.4 - - [x] "GET /outputs/b.png HTTP/1.1" 200 600 "-" "-"
"""


def write(folder: Path, *origins: dict[str, Any]) -> str:
    path = folder / "config.json"
    named = {f"store{number}": origin for number, origin in enumerate(origins, 1)}
    path.write_text(json.dumps({"origins": named, "access": {"public": ["outputs/"]}}))
    return str(path)


async def started(folder: Path, *arguments: str) -> Process:
    command = (sys.executable, "-m", "edgecache", "doctor", *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=PIPE, stderr=PIPE)


async def doctor(folder: Path, *arguments: str) -> tuple[int | None, str, str]:
    program = await started(folder, *arguments)
    async with asyncio.timeout(30):
        out, err = await program.communicate()
    return program.returncode, out.decode(), err.decode()


async def test_a_healthy_store(moto: Moto, tmp_path: Path) -> None:
    moto.put(CLIP, bytes(200_000), "video/mp4")
    names = ("endpoint", "region", "bucket", "access_key", "secret_key")
    config = write(tmp_path, {name: getattr(moto, name) for name in names})
    code, out, err = await doctor(tmp_path, "--config", config, "--write")
    assert (code, err) == (0, "")
    assert f"{CLIP}, 200000 bytes, signed" in out
    assert out.endswith("\nNo problems, no notes.\n")


async def test_problems_are_json_and_a_profile(runpod: RunPodOrigin, tmp_path: Path) -> None:
    fill(runpod)
    runpod.quirks.undecoded = "="
    runpod.put("outputs/seed=1/a.png", b"123")
    config = write(tmp_path, runpod.settings)
    (tmp_path / "access.log").write_text(LOG)
    wanted = ("--json", "--write-profile", "quirks.json", "--log", "access.log", "--key", CLIP)
    code, out, err = await doctor(tmp_path, "--config", config, *wanted)
    facts = json.loads(out)
    assert (code, facts["problems"], facts["key"]) == (1, 1, CLIP)
    assert facts["verdict"]["direct"] is False
    assert "35% need not be read again" in facts["verdict"]["savings"]
    assert "origins.store1.quirks: quirks.json" in err
    profile = json.loads((tmp_path / "quirks.json").read_text())
    assert profile["quirks"]["path_safe"] == "="
    assert runpod.secret_key not in out + err

    config = write(tmp_path, runpod.settings | {"quirks": str(tmp_path / "quirks.json")})
    code, out, _ = await doctor(tmp_path, "--config", config)
    assert code == 0
    assert runpod.secret_key not in out


async def test_stopped_while_it_writes_it_leaves_nothing(
    runpod: RunPodOrigin, tmp_path: Path
) -> None:
    fill(runpod)
    config = write(tmp_path, runpod.settings)
    gate = runpod.hold("edgecache-doctor/", skip=3)
    program = await started(tmp_path, "--config", config, "--write")
    async with asyncio.timeout(30):
        await gate.reached.wait()
        assert any(key.startswith("edgecache-doctor/") for key in runpod.objects)
        program.send_signal(signal.SIGINT)
        _, err = await program.communicate()
    gate.release()
    assert (program.returncode, err) == (130, b"Stopping ...\n")
    assert not any(key.startswith("edgecache-doctor/") for key in runpod.objects)


def test_a_wrong_config_is_told(tmp_path: Path) -> None:
    config = write(tmp_path, {"endpoint": "nonsense", "bucket": "b"})
    result = CliRunner().invoke(app, ["doctor", "--config", config])
    assert result.exit_code == 2
    assert "not an endpoint" in result.output


def test_which_origin(tmp_path: Path) -> None:
    one = {"endpoint": "http://127.0.0.1:1", "bucket": "b"}
    routes = [{"path": "/", "origin": "one"}]
    both = Config.model_validate({"origins": {"one": one, "two": one}, "routes": routes})
    assert origin_named("two", both) == "two"
    with pytest.raises(ConfigError, match="say which origin with --origin: one, two"):
        origin_named("", both)
    with pytest.raises(ConfigError, match="no origin is named 'three'"):
        origin_named("three", both)
    assert origin_named("", Config.model_validate({"origins": {"one": one}})) == "one"


def test_a_log_tells_what_was_sent_and_what_of_it_was_new(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(LOG)
    one = {"endpoint": "http://127.0.0.1:1", "bucket": "b"}
    traffic = traffic_of(path, Config.model_validate({"origins": {"one": one}}), "one")
    assert (traffic.sent, traffic.distinct) == (2000, 1300)
