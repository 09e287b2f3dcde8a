"""`edgecache serve` as users start it: a process, a config file, two ports."""

import json
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.programs import PATIENCE, Program, environment, eventually

COMMAND = (sys.executable, "-m", "edgecache", "serve")

Settings = dict[str, Any]


def settings_for(
    origin: Mapping[str, str],
    folder: Path,
    *,
    routes: Sequence[str] = ("/",),
    **sections: Mapping[str, object],
) -> Settings:
    """Free ports, a cache in `folder`, the access log on stdout; `sections` come on top."""
    settings: Settings = {
        "listen": {"host": "127.0.0.1", "port": 0, "workers": 1},
        "admin": {"port": 0},
        "origins": {"main": dict(origin)},
        "routes": [{"path": path} for path in routes],
        "cache": {"dir": str(folder / "cache"), "size": "512MiB"},
        "fetch": {"settle": 0},  # moto's objects were changed just now
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section}
    return settings


class Edgecache(Program):
    """A server that has said where it listens."""

    def __init__(
        self, *arguments: str | Path, env: Mapping[str, str], cwd: Path, under: Sequence[str] = ()
    ) -> None:
        super().__init__([*under, *COMMAND, *arguments], env=env, cwd=cwd)
        self.url = self.admin_url = ""
        self._folder = cwd

    def listening(self) -> "Edgecache":
        found = self.stderr.wait(r"serving url=(\S+) admin=(\S+)")
        self.url, self.admin_url = found.groups()
        return self

    def admin(self, path: str, token: str = "") -> tuple[int, str]:
        """(status, text) of a GET on the admin port."""
        request = urllib.request.Request(f"{self.admin_url}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def reload(self, settings: Settings) -> None:
        """Waits until they are in force."""
        done = str(self.stderr).count(" reloaded")
        self.hang_up(settings)
        eventually(lambda: str(self.stderr).count(" reloaded") > done, "the reload")

    def hang_up(self, settings: Settings) -> None:
        """SIGHUP, with these settings in its file."""
        write_settings(settings, self._folder)
        self.signal(signal.SIGHUP)

    def purge(self, asked: Mapping[str, object]) -> tuple[int, str]:
        """(status, text) of POST /api/purge."""
        request = urllib.request.Request(
            f"{self.admin_url}/api/purge",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def total(self, name: str, token: str = "", **labels: str) -> float:
        """The sum over all samples of that name in /metrics that have these labels."""
        families = text_string_to_metric_families(self.admin("/metrics", token)[1])
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def idle(self, token: str = "") -> None:
        """Waits until everything fetched is stored and every answer is over."""
        busy = ("edgecache_fills_active", "edgecache_http_requests_in_flight")
        eventually(lambda: not any(self.total(name, token) for name in busy), "nothing is busy")

    def access(self, path: str, count: int = 1) -> list[dict[str, object]]:
        """The JSON access log lines of `path`, once there are `count` of them."""

        def read() -> list[dict[str, object]]:
            entries = [json.loads(line) for line in self.stdout]
            entries.sort(key=lambda entry: str(entry["time"]))  # processes write when they can
            return [entry for entry in entries if entry["path"] == path]

        eventually(lambda: len(read()) >= count, f"{count} access log lines of {path}")
        return read()


def write_settings(settings: Settings, folder: Path) -> Path:
    file = folder / "edgecache.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True))
    return file


@contextmanager
def serving(
    settings: Settings, folder: Path, *, under: Sequence[str] = (), **variables: str
) -> Iterator[Edgecache]:
    """A server with these settings as its file; killed in the end if it still runs. `under`: a
    program that runs it, with its arguments."""
    file = write_settings(settings, folder)
    with started("--config", file, folder=folder, under=under, **variables) as server:
        yield server.listening()


@contextmanager
def started(
    *arguments: str | Path, folder: Path, under: Sequence[str] = (), **variables: str
) -> Iterator[Edgecache]:
    """`edgecache serve` with these arguments, in `folder`; it may also refuse to start."""
    server = Edgecache(*arguments, env=environment(**variables), cwd=folder, under=under)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def asking(server: Edgecache, key: str) -> Iterator[socket.socket]:
    """A client that has asked for an object, and has read nothing yet."""
    url = urlsplit(server.url)
    with socket.create_connection((url.hostname, url.port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(f"GET /{key} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        yield client
