"""The demo's config, and ports."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.core.errors import CannotStart
from edgecache.demo.settings import SLICE_SIZE, demo_config, free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_no_real_deployment_gets_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGECACHE_CACHE__DIR", "/var/cache/edgecache")
    monkeypatch.setenv("EDGECACHE_LISTEN__HOST", "0.0.0.0")
    monkeypatch.setenv("EDGECACHE_ORIGINS", '{"real": {"endpoint": "https://s3.test"}}')
    monkeypatch.setenv("EDGECACHE_ACCESS__PUBLIC", '[""]')
    config = demo_config("http://127.0.0.1:5000", tmp_path, port=1, admin_port=2)
    assert config.cache.dir == tmp_path
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", 1)
    assert (config.admin.host, config.admin.port) == ("127.0.0.1", 2)
    assert list(config.origins) == ["demo"]
    assert config.access.public == ("outputs/",)


def test_runs_have_as_many_slices_as_by_default(tmp_path: Path) -> None:
    config = demo_config("http://127.0.0.1:5000", tmp_path, port=0, admin_port=0)
    default = type(config.fetch)()
    for name in ("first_run", "image_run", "max_run"):
        runs = getattr(config.fetch, name) / SLICE_SIZE, getattr(default, name) / 2**20
        assert runs[0] == runs[1], name


def test_a_free_port_is_taken_as_it_is(taken: int) -> None:
    found = free_port(taken + 1)
    assert free_port(found) == found


def test_a_taken_port_makes_it_the_next(taken: int) -> None:
    assert taken < free_port(taken) < taken + 100


def test_a_port_that_is_promised_counts_as_taken(taken: int) -> None:
    found = free_port(taken)
    assert free_port(found, taken={found}) > found


def test_any_port_stays_any() -> None:
    assert free_port(0) == 0


def test_no_port_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecache.demo.settings._is_free", lambda port: False)
    with pytest.raises(CannotStart, match="no free port from 65530 to 65535"):
        free_port(65530)
