"""`edgecache serve` as a process: how it starts, what it refuses, what it keeps, what it logs."""

import re
import signal
import socket
import time
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.curl import curl
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.serving import Edgecache, serving, settings_for, started
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20


def variables(origin: OriginThread) -> dict[str, str]:
    """What an app on RunPod has in its environment anyway."""
    one = origin.origin
    return {
        "RUNPOD_S3_ENDPOINT": one.endpoint,
        "RUNPOD_S3_REGION": one.region,
        "RUNPOD_S3_BUCKET_NAME": one.bucket,
        "RUNPOD_S3_ACCESS_KEY": one.access_key,
        "RUNPOD_S3_SECRET_KEY": one.secret_key,
    }


ANY_PORTS = {"EDGECACHE_LISTEN__PORT": "0", "EDGECACHE_ADMIN__PORT": "0"}


def refused(server: Edgecache) -> tuple[int, str]:
    """(exit code, stderr) of a server that does not start."""
    code = server.ended()
    assert server.stderr.find("Traceback") is None
    return code, str(server.stderr)


def test_it_serves_from_the_runpod_variables_alone(origin: OriginThread, tmp_path: Path) -> None:
    """No file; the cache goes into the working directory."""
    origin.put("outputs/alone.png", b"picture")
    with started(folder=tmp_path, **variables(origin), **ANY_PORTS) as server:
        assert curl(f"{server.listening().url}/outputs/alone.png").body == b"picture"
        assert server.stop() == 0
    assert (tmp_path / "cache").is_dir()
    assert origin.origin.secret_key not in f"{server.stdout}{server.stderr}"


def test_it_starts_quickly(origin: OriginThread, tmp_path: Path) -> None:
    """Under a second on an idle machine; a test machine may be busy."""
    settings = settings_for(origin.origin.settings, tmp_path)
    began = time.monotonic()
    with serving(settings, tmp_path) as server:
        assert server.admin("/readyz") == (200, "ready\n")
        took = time.monotonic() - began
    assert took < 5


def test_a_wrong_config_is_told_at_once_and_whole(origin: OriginThread, tmp_path: Path) -> None:
    """Exit 2, every problem with its path, nothing else of the file's."""
    settings = settings_for(
        origin.origin.settings,
        tmp_path,
        cache={"size": "10 gallons"},
        listen={"prot": 80, "drain_timeout": "soon"},
        admin={"host": "0.0.0.0"},
    )
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(settings))
    with started("--config", "wrong.yaml", folder=tmp_path) as server:
        code, text = refused(server)
    assert code == 2
    for path in ("cache.size", "listen.prot", "listen.drain_timeout", "admin.token"):
        assert re.search(rf"^edgecache: {re.escape(path)}: .", text, re.MULTILINE)
    assert origin.origin.secret_key not in text


def test_no_config_at_all_says_what_is_needed(tmp_path: Path) -> None:
    with started(folder=tmp_path) as server:
        code, text = refused(server)
    assert code == 2
    assert "RUNPOD_S3_ENDPOINT" in text


@pytest.mark.parametrize("section", ["listen", "admin"])
def test_a_taken_port_is_named(origin: OriginThread, tmp_path: Path, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = settings_for(origin.origin.settings, tmp_path)
        settings[section]["port"] = port
        (tmp_path / "taken.yaml").write_text(yaml.safe_dump(settings))
        with started("--config", "taken.yaml", folder=tmp_path) as server:
            code, text = refused(server)
    assert code == 1  # 2 is the config's, and nothing that systemd tries again
    assert f"edgecache: {section}: cannot listen on 127.0.0.1:{port}: " in text
    assert "in use" in text


def test_two_servers_do_not_share_a_cache_folder(origin: OriginThread, tmp_path: Path) -> None:
    """The second refuses; the first goes on."""
    origin.put("outputs/first.png", b"picture")
    settings = settings_for(origin.origin.settings, tmp_path)
    with serving(settings, tmp_path) as first:
        with started("--config", "edgecache.yaml", folder=tmp_path) as second:
            code, text = refused(second)
        assert code == 1
        assert str(tmp_path / "cache") in text
        assert curl(f"{first.url}/outputs/first.png").body == b"picture"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_restart_keeps_the_cache(
    origin: OriginThread, tmp_path: Path, end: signal.Signals
) -> None:
    """However it ended, the next run buys no byte of what was whole."""
    key = f"outputs/kept-{end.name}.mp4"
    movie = Pattern(3 * MIB + 17, seed=11)
    origin.put(key, movie)
    settings = settings_for(origin.origin.settings, tmp_path)
    with serving(settings, tmp_path) as server:
        assert curl(f"{server.url}/{key}").body == movie.read()
        server.idle()
        server.signal(end)
        assert server.ended() == (0 if end is not signal.SIGKILL else -signal.SIGKILL)
    bought = len(origin.asked(key))
    with serving(settings, tmp_path) as server:
        again = curl(f"{server.url}/{key}")
        middle = curl("-r", "1500000-1500009", f"{server.url}/{key}")
        assert server.total("edgecache_integrity_failures_total") == 0
    assert again.body == movie.read()
    assert middle.body == movie.read(1_500_000, 1_500_010)
    assert again.cache_status.startswith("edgecache; hit")
    assert len(origin.asked(key)) == bought


def test_the_admin_port_wants_its_token(origin: OriginThread, tmp_path: Path) -> None:
    """401 without it, and for a wrong one; the probes stay open."""
    settings = settings_for(origin.origin.settings, tmp_path, admin={"token": "right"})
    with serving(settings, tmp_path) as server:
        for path in ("/metrics", "/api/stats"):
            assert server.admin(path)[0] == 401
            assert server.admin(path, "wrong")[0] == 401
            assert server.admin(path, "right")[0] == 200
        assert server.admin("/healthz") == (200, "ok\n")
        assert server.admin("/readyz") == (200, "ready\n")
        assert curl(f"{server.url}/metrics").status == 403  # nothing of it on the public port


def test_a_json_access_log_has_a_line_for_each_request(
    edge: Edgecache, origin: OriginThread
) -> None:
    """What was asked and how it was answered, without the query, where signatures live."""
    origin.put("outputs/logged.png", b"0123456789")
    agent, referer = ("-A", 'a "client"\u2028é'), ("-e", "https://app.example/page?token=hush")
    curl("-r", "2-5", *agent, *referer, f"{edge.url}/outputs/logged.png?signature=hush")
    curl(f"{edge.url}/outputs/logged.png")
    first, second = edge.access("/outputs/logged.png", 2)
    expected = {
        "client": "127.0.0.1",
        "method": "GET",
        "status": 206,
        "bytes": 4,
        "range": "bytes=2-5",
        "result": "miss",
        "referer": "https://app.example/page",
        "user_agent": 'a "client"\u2028é',
    }
    assert {name: first[name] for name in expected} == expected
    assert str(first["cache_status"]).startswith("edgecache; fwd=uri-miss")
    assert 0 < float(str(first["ttfb"])) <= float(str(first["duration"])) < 10
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(first["time"]))
    assert (second["status"], second["bytes"]) == (200, 10)
    assert "hush" not in str(edge.stdout)
    assert str(edge.stdout).isascii()


COMBINED = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(?P<request>[^"]*)" '
    r'(?P<status>\d{3}) (?P<bytes>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" "(?P<cache>.*)"'
)


def test_a_combined_access_log_goes_to_its_file(origin: OriginThread, tmp_path: Path) -> None:
    """Every line is there when the server has ended, in the form that log readers know."""
    origin.put("outputs/combined.png", b"0123456789")
    file = tmp_path / "access.log"
    log = {"access": "combined", "access_file": str(file)}
    with serving(settings_for(origin.origin.settings, tmp_path, log=log), tmp_path) as server:
        for asked in ("0-3", "5-"):
            curl("-A", "a client", "-r", asked, f"{server.url}/outputs/combined.png?secret=1")
        assert server.stop() == 0
        assert str(server.stdout) == ""
    lines = [COMBINED.fullmatch(line) for line in file.read_text().splitlines()]
    assert [
        line and line.group("request", "status", "bytes", "referer", "agent") for line in lines
    ] == [
        ("GET /outputs/combined.png HTTP/1.1", "206", "4", "-", "a client"),
        ("GET /outputs/combined.png HTTP/1.1", "206", "5", "-", "a client"),
    ]
