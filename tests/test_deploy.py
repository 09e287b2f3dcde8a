"""deploy/: what can be checked without a daemon, by the programs that will read it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgecache import config, config_listen
from edgecache.supervisor import Timing
from tests.conftest import require

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def run(*command: str | Path, **environment: str) -> str:
    """Its output, both kinds; a failure shows it."""
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# Container image


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines if line.strip()]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    start = max(n for n, (name, _) in enumerate(every) if name == "FROM")
    return every[start:]


def argument(name: str) -> str:
    """The last one counts."""
    return [value for found, value in last_stage() if found == name][-1]


def is_in_context(path: str) -> bool:
    """What .dockerignore leaves of the tree: the last pattern that fits decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fits(path, pattern):
            kept = line.startswith("!")
    return kept


def fits(path: str, pattern: str) -> bool:
    """Whether the pattern names the path or a folder that it is in."""
    parts = path.split("/")
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in parts)
    depth = pattern.count("/") + 1
    return len(parts) >= depth and fnmatch("/".join(parts[:depth]), pattern)


def test_the_image_runs_as_a_user_without_a_name_or_rights() -> None:
    user, group = argument("USER").split(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000
    after = [name for name, _ in last_stage()]
    assert "RUN" not in after[after.index("USER") :]


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_commands_are_in_exec_form(name: str) -> None:
    """Else a shell is process 1, and SIGTERM never reaches the server."""
    words = json.loads(argument(name)[argument(name).index("[") :])
    assert all(isinstance(word, str) for word in words)


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    for name, value in instructions():
        *copied, _ = shlex.split(value)
        if name == "COPY" and not copied[0].startswith("--from="):
            for source in copied:
                assert (ROOT / source).exists()
                assert is_in_context(source)


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "deploy/.env", ".env", "config.yaml", "tests/conftest.py",
     "edgecache/__pycache__/x.pyc", "cache/a/b"],
)  # fmt: skip
def test_nothing_else_gets_into_the_image(path: str) -> None:
    assert not is_in_context(path)


def test_the_cache_is_a_volume_where_the_server_looks_for_it() -> None:
    volume = argument("VOLUME")
    assert f"EDGECACHE_CACHE__DIR={volume}" in argument("ENV").split()
    owner = argument("USER")
    assert any(f"chown {owner} {volume}" in value for name, value in last_stage() if name == "RUN")


class Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def admin_port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 500])
def test_the_health_check_asks_the_admin_port(
    status: int, admin_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health, "status", status)
    done = subprocess.run(
        [sys.executable, DEPLOY / "healthcheck.py"],
        env=os.environ | {"EDGECACHE_ADMIN__PORT": str(admin_port)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == (0 if status == 200 else 1)


def test_the_health_check_fails_where_nobody_listens() -> None:
    with HTTPServer(("127.0.0.1", 0), Health) as closed:
        port = closed.server_port
    done = subprocess.run(
        [sys.executable, DEPLOY / "healthcheck.py"],
        env=os.environ | {"EDGECACHE_ADMIN__PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


# Compose


def test_compose_is_what_the_compose_specification_allows() -> None:
    run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
        DEPLOY / "compose.yaml",
    )  # fmt: skip


def test_compose_is_checked_by_a_schema_that_can_say_no(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {edgecache: {port: 8080}}", "utf-8")
    with pytest.raises(AssertionError, match="'port' was unexpected"):
        run(
            sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
            wrong,
        )  # fmt: skip


def test_compose_fits_the_image_and_prometheus() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    edgecache, prometheus = compose["services"]["edgecache"], compose["services"]["prometheus"]
    assert f"cache:{argument('VOLUME')}" in edgecache["volumes"]
    assert f"../config.yaml:{argument('WORKDIR')}/config.yaml:ro" in edgecache["volumes"]
    assert edgecache["environment"]["EDGECACHE_ADMIN__TOKEN"]
    for volume in [*edgecache["volumes"], *prometheus["volumes"]]:
        source = volume.split(":")[0]
        assert source in compose["volumes"] or (DEPLOY / source).is_file()
    (scrape,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["edgecache:9180"]}]
    (secret,) = prometheus["secrets"]
    assert scrape["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    assert compose["secrets"][secret] == {"environment": "EDGECACHE_ADMIN__TOKEN"}
    grace = int(edgecache["stop_grace_period"].removesuffix("s"))
    assert grace > config_listen.Listen().drain_timeout


def test_the_example_environment_is_a_whole_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the empty values are filled in; with the shipped config.yaml, as Compose mounts it."""
    for line in (DEPLOY / "env.example").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            (value,) = shlex.split(value) or [""]
            monkeypatch.setenv(name, value or ("" if name == "RUNPOD_S3_REGION" else "filled"))
    monkeypatch.setenv("EDGECACHE_ADMIN__HOST", "0.0.0.0")
    monkeypatch.chdir(tmp_path)
    loaded = config.load(ROOT / "config.yaml")
    assert loaded.origins["runpod"].region == "EU-RO-1"
    assert loaded.access.public == ("outputs/",)


# Prometheus


def test_prometheus_takes_its_config_and_rules(tmp_path: Path) -> None:
    promtool = require("promtool")
    shutil.copy(DEPLOY / "rules.yml", tmp_path)
    token = tmp_path / "token"
    token.write_text("secret", "utf-8")
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    copy = tmp_path / "prometheus.yml"
    copy.write_text(text.replace("/run/secrets/admin_token", str(token)), "utf-8")
    run(promtool, "check", "config", "--lint=all", "--lint-fatal", copy)


# One sample a minute: /video gives 1000 B/s and buys 250; /image comes from the cache, so that it
# has no origin series at all; /warm buys more than it gives.
SERIES = {
    'edgecache_client_body_bytes_total{route="/video",source="cache"}': "0+30000x1500",
    'edgecache_client_body_bytes_total{route="/video",source="fill"}': "0+30000x1500",
    'edgecache_origin_body_bytes_total{route="/video",reason="demand"}': "0+15000x1500",
    'edgecache_client_body_bytes_total{route="/image",source="cache"}': "0+6000x1500",
    'edgecache_client_body_bytes_total{route="/warm",source="cache"}': "0+3000x1500",
    'edgecache_origin_body_bytes_total{route="/warm",reason="warm"}': "0+9000x1500",
    'edgecache_origin_wasted_bytes_total{cause="unread"}': "0+5000x1500",
    'edgecache_origin_wasted_bytes_total{cause="error"}': "0+1000x1500",
    'edgecache_http_requests_total{result="hit"}': "0+3x1500",
    'edgecache_http_requests_total{result="miss"}': "0+1x1500",
    'edgecache_cost_avoided_dollars_total{path="app_platform"}': "0+0.03x1500",
    'edgecache_cost_incurred_dollars_total{path="host"}': "0+0.01x1500",
}
DAY = 86400
RECORDED: dict[str, dict[str, float]] = {
    "route:edgecache_saved_bytes:rate5m": {
        '{route="/video"}': 750,
        '{route="/image"}': 100,
        '{route="/warm"}': -100,
    },
    "route:edgecache_byte_hit_ratio:rate5m": {
        '{route="/video"}': 0.75,
        '{route="/image"}': 1,
        '{route="/warm"}': -2,
    },
    "reason:edgecache_origin_body_bytes:rate5m": {
        '{reason="demand"}': 250,
        '{reason="warm"}': 150,
    },
    "edgecache_origin_waste_ratio:rate5m": {"{}": 0.25},
    "edgecache_request_hit_ratio:rate5m": {"{}": 0.75},
    "route:edgecache_saved_bytes:increase1d": {
        '{route="/video"}': 750 * DAY,
        '{route="/image"}': 100 * DAY,
        '{route="/warm"}': -100 * DAY,
    },
    "edgecache_saved_dollars:increase1d": {"{}": 0.02 * 1440},
}


def test_the_rules_say_what_was_saved(tmp_path: Path) -> None:
    promtool = require("promtool")
    checks = [
        {
            "expr": f"round({name}, 0.0001)",  # floating point sums differ in their last digit
            "eval_time": "1490m",
            "exp_samples": [{"labels": k, "value": v} for k, v in samples.items()],
        }
        for name, samples in RECORDED.items()
    ]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": checks}
    path = tmp_path / "tests.yml"
    rules = [str(DEPLOY / "rules.yml")]
    path.write_text(json.dumps({"rule_files": rules, "tests": [test]}), "utf-8")
    run(promtool, "test", "rules", path)


# systemd


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Without a word, once ExecStart names a program of this machine."""
    analyze = require("systemd-analyze")
    text = (DEPLOY / "edgecache.service").read_text("utf-8")
    assert "ExecStart=/opt/edgecache/bin/edgecache serve\n" in text
    unit = tmp_path / "edgecache.service"
    unit.write_text(text.replace("/opt/edgecache/bin/edgecache", "/bin/true"), "utf-8")
    assert run(analyze, "verify", "--recursive-errors=no", unit) == ""


def test_the_unit_gives_little_away() -> None:
    """systemd's own score: 0 is nothing exposed, 9.6 a plain unit. A network server has about 1."""
    analyze = require("systemd-analyze")
    run(
        analyze, "security", "--offline=true", "--threshold=15", DEPLOY / "edgecache.service"
    )  # fmt: skip


def test_the_unit_lets_a_drain_end_and_does_not_restart_a_wrong_config() -> None:
    text = (DEPLOY / "edgecache.service").read_text("utf-8")
    values = dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, flags=re.M))
    assert int(values["TimeoutStopSec"]) > config_listen.Listen().drain_timeout + Timing().grace
    assert (values["KillMode"], values["Type"]) == ("mixed", "notify")
    assert values["RestartPreventExitStatus"] == "2"
    assert int(values["LimitNOFILE"]) > 2 * config_listen.Listen().max_connections


# Next.js


@pytest.mark.parametrize("name", ["next.image-loader.mjs", "next.config.mjs"])
def test_node_takes_the_app_s_files(name: str) -> None:
    run(require("node"), "--check", DEPLOY / name)


def evaluate(module: str, expression: str) -> Any:
    """A JavaScript expression over the module as `m`."""
    code = (
        f"import * as m from {json.dumps((DEPLOY / module).as_uri())};"
        f"console.log(JSON.stringify({expression}))"
    )
    base = "https://media.example.com/"
    command = (require("node"), "--input-type=module", "--eval", code)
    return json.loads(run(*command, NEXT_PUBLIC_MEDIA_BASE_URL=base))


LOADED = {
    "outputs/u/cat.png": "https://media.example.com/outputs/u/cat.png?w=640&q=75",
    "outputs/a b#1%+é.png": "https://media.example.com/outputs/a%20b%231%25%2B%C3%A9.png?w=640&q=75",
    "/api/images/s3/outputs%2Fcat.png": (
        "https://media.example.com/api/images/s3/outputs%2Fcat.png?w=640&q=75"
    ),
    "/api/media/s3/outputs%2Fcat.png?x=1": (
        "https://media.example.com/api/media/s3/outputs%2Fcat.png?x=1&w=640&q=75"
    ),
    "/logo.svg": "/logo.svg",
    "/api/images/other": "/api/images/other",
    "https://other.example/cat.png": "https://other.example/cat.png",
    "//other.example/cat.png": "//other.example/cat.png",
    "data:image/png;base64,AA": "data:image/png;base64,AA",
}


def test_the_loader_sends_media_to_edgecache_and_leaves_the_rest() -> None:
    calls = ",".join(f"m.default({{src: {json.dumps(src)}, width: 640}})" for src in LOADED)
    assert evaluate("next.image-loader.mjs", f"[{calls}]") == list(LOADED.values())


def test_the_loader_tells_widths_apart() -> None:
    """Next.js warns in development when it does not."""
    call = "m.default({src: 'outputs/cat.png', width: 1080, quality: 90})"
    expected = "https://media.example.com/outputs/cat.png?w=1080&q=90"
    assert evaluate("next.image-loader.mjs", call) == expected


def test_the_app_s_config_names_the_loader() -> None:
    images = evaluate("next.config.mjs", "m.default.images")
    assert images == {"loader": "custom", "loaderFile": "./next.image-loader.mjs"}
    assert (DEPLOY / "next.image-loader.mjs").is_file()


def test_the_app_s_old_addresses_lead_to_edgecache() -> None:
    (redirect,) = evaluate("next.config.mjs", "await m.default.redirects()")
    assert redirect == {
        "source": "/api/:kind(images|media|videos)/s3/:key*",
        "destination": "https://media.example.com/api/:kind/s3/:key*",
        "permanent": False,
    }
