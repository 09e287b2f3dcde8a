"""What the parent opens, and which configs it lets its children go by. (The rest runs in
tests/end_to_end/test_workers*.py and test_reload.py.)"""

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecache.config import Config
from edgecache.core.errors import CannotStart, ConfigError
from edgecache.metrics import Metrics
from edgecache.processes import Processes, Sockets, relay_socket
from edgecache.web.listening import bind, bind_group


def config(**sections: Any) -> Config:
    origin = {"endpoint": "http://127.0.0.1:9", "bucket": "b"}
    return Config(**{"origins": {"main": origin}, **sections})


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as a socket's path has to be."""
    with tempfile.TemporaryDirectory(prefix="edgecache-") as name:
        yield Path(name)


def test_a_child_keeps_what_is_its_own(folder: Path) -> None:
    path = folder / "keeper"
    sockets = Sockets(
        bind_group("127.0.0.1", 0, 2),
        bind("127.0.0.1", 0, section="admin"),
        relay_socket(path),
        path,
    )
    everyone = (*sockets.public, sockets.admin, sockets.relay)
    sockets.keep(sockets.public[1])
    assert [one.fileno() >= 0 for one in everyone] == [False, True, False, False]
    sockets.close_public()
    assert not any(one.fileno() >= 0 for one in everyone)


def test_the_keepers_socket_is_for_its_own_user_only(folder: Path) -> None:
    with relay_socket(folder / "keeper") as listener:
        assert stat.S_IMODE((folder / "keeper").stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as worker:
            worker.connect(str(folder / "keeper"))  # waits until a keeper accepts it
        assert not listener.getblocking()


def test_a_path_that_is_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"^\$TMPDIR: no socket in "):
        relay_socket(tmp_path / ("x" * 120))


def test_only_a_config_that_can_be_used_is_told_to_children(
    caplog: pytest.LogCaptureFixture,
) -> None:
    new = config(freshness={"ttl": "1m"}, cache={"dir": "elsewhere"}, listen={"port": 1})

    def read() -> Config:
        if isinstance(new, Exception):
            raise new
        return new

    metrics = Metrics(new.costs)
    metrics.reloads.begin()
    processes = Processes(config(), read, None)
    assert processes._message(metrics.reloads) == b"2"
    assert processes._config == config(freshness={"ttl": "1m"}) == processes._read()
    for name in ("cache.dir", "listen.port"):
        assert f"{name} changes only with a restart" in caplog.text
    new = config(listen={"tls": {"cert": "missing.pem"}})  # fixed: TLS was off
    assert processes._message(metrics.reloads) == b"3"
    new = ConfigError("a: wrong\nb: also wrong")  # type: ignore[assignment]
    assert processes._message(metrics.reloads) is None
    for problem in ("a: wrong", "b: also wrong"):
        assert f"the config is kept as it was: {problem}" in caplog.text
    results = [metrics.total("config_reloads_total", result=r) for r in ("ok", "failed")]
    assert results == [2, 1]


def test_a_bad_certificate_is_a_config_that_cannot_be_used(tmp_path: Path) -> None:
    tls = {"tls": {"cert": str(tmp_path / "missing.pem")}}
    processes = Processes(config(listen=tls), lambda: config(listen=tls), None)
    assert processes._message(Metrics(config().costs).reloads) is None
