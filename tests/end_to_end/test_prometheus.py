"""A real Prometheus reads /metrics and answers what the cache saved."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import require
from tests.end_to_end.curl import curl
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import PATIENCE, environment, eventually, running
from tests.end_to_end.serving import Edgecache, serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[2] / "deploy"
TOKEN = "a-token-of-the-operator"
MIB = 2**20


@pytest.fixture
def server(origin: OriginThread, tmp_path: Path) -> Iterator[Edgecache]:
    """One whose books nobody else writes in."""
    settings = settings_for(
        origin.origin.settings, tmp_path, admin={"token": TOKEN}, log={"access": "off"}
    )
    with serving(settings, tmp_path) as server:
        yield server


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> float | None:
        """The value of an expression that has one; None: there are no samples yet."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=PATIENCE) as got:
            results = json.load(got)["data"]["result"]
        assert len(results) <= 1, results
        return float(results[0]["value"][1]) if results else None

    def comes_to(self, expression: str, value: float) -> None:
        eventually(lambda: self.query(expression) == value, f"{expression} = {value:g}")

    def exceeds(self, expression: str, value: float) -> None:
        eventually(lambda: (self.query(expression) or 0) > value, f"{expression} > {value:g}")


def configured(server: Edgecache, folder: Path) -> Path:
    """deploy/prometheus.yml as an operator adapts it: the target, the token, every second."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [urllib.parse.urlsplit(server.admin_url).netloc]}]
    token = folder / "token"
    token.write_text(TOKEN)
    job["authorization"]["credentials_file"] = str(token)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture
def prometheus(server: Edgecache, tmp_path: Path) -> Iterator[Prometheus]:
    command = (
        require("prometheus"),
        f"--config.file={configured(server, tmp_path)}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
    )
    with running(*command, env=environment(), cwd=tmp_path) as program:
        address = program.stderr.wait(r'msg="Listening on" address=(\S+)')[1]
        program.stderr.wait("Server is ready to receive web requests")
        yield Prometheus(f"http://{address}")


@pytest.mark.slow
def test_the_bytes_saved_are_a_query(
    server: Edgecache, origin: OriginThread, prometheus: Prometheus
) -> None:
    """Bytes to clients less bytes from the origin, to the byte; then as deploy/rules.yml has it."""
    origin.put("outputs/prometheus/a.mp4", Pattern(3 * MIB, seed=9))
    url = f"{server.url}/outputs/prometheus/a.mp4"

    def visit() -> int:
        """Bytes that a client got, most of them twice."""
        given = 0
        for asked in ("0-", "0-99", "1048576-2097151", "0-"):
            given += len(curl("-r", asked, url).body)
            server.idle(TOKEN)
        return given

    given = visit()
    saved = "sum(edgecache_client_body_bytes_total) - sum(edgecache_origin_body_bytes_total)"
    assert origin.sent("outputs/prometheus/a.mp4") == 3 * MIB
    prometheus.comes_to(saved, given - 3 * MIB)
    prometheus.comes_to(saved, given + visit() - 3 * MIB)  # a rate wants a change that was seen
    prometheus.exceeds("route:edgecache_saved_bytes:rate5m", 0)
    prometheus.exceeds("route:edgecache_byte_hit_ratio:rate5m", 0)
    prometheus.exceeds("edgecache_request_hit_ratio:rate5m", 0)
    assert prometheus.query("edgecache_ready") == 1
    assert prometheus.query("up") == 1


def test_promtool_finds_nothing_wrong_with_the_metrics(
    server: Edgecache, origin: OriginThread
) -> None:
    """After traffic of every kind, so that every family has its labels."""
    origin.put("outputs/prometheus/b.mp4", Pattern(MIB, seed=10))
    url = f"{server.url}/outputs/prometheus/b.mp4"
    for arguments in (["-r", "0-9"], [], ["--head"], ["-X", "OPTIONS"], ["-X", "POST"]):
        curl(*arguments, url)
    assert curl(f"{url}.missing").status == 404
    server.idle(TOKEN)
    status, text = server.admin("/metrics", TOKEN)
    assert status == 200
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=text.encode(),
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (checked.returncode, checked.stdout, checked.stderr.decode()) == (0, b"", "")
