"""What systemd hears, on a socket such as its own."""

import logging
import math
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.supervisor.notify import Notifier
from tests.supervisor.family import family, pid_of


class Systemd:
    def __init__(self, address: str) -> None:
        self.address = address.replace("\0", "@")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(20.0)

    def hears(self) -> str:
        return self.socket.recv(4096).decode()

    def hears_until(self, message: str) -> list[str]:
        heard = [self.hears()]
        while heard[-1] != message:
            heard.append(self.hears())
        return heard


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    name = f"\0edgecache-test-{os.getpid()}" if request.param == "abstract" else tmp_path / "notify"
    systemd = Systemd(str(name))
    yield systemd
    systemd.socket.close()


def test_each_state_is_one_datagram(systemd: Systemd) -> None:
    notifier = Notifier(systemd.address)
    notifier.ready()
    notifier.reloading(12.5)
    notifier.status("3 of 3 serve")
    notifier.stopping()
    assert [systemd.hears() for _ in range(4)] == [
        "READY=1",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "STATUS=3 of 3 serve",
        "STOPPING=1",
    ]


def test_the_watchdog_hears_twice_in_its_time(systemd: Systemd) -> None:
    notifier = Notifier(systemd.address, watchdog=10.0)
    notifier.beat(100.0)
    notifier.beat(104.0)
    notifier.beat(105.0)
    notifier.stopping()
    assert systemd.hears_until("STOPPING=1") == ["WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]
    assert notifier.due == 110.0


@pytest.mark.parametrize(
    ("environment", "due"),
    [
        ({}, math.inf),
        ({"NOTIFY_SOCKET": "/run/notify"}, math.inf),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "30000000"}, 0.0),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())}, 0.0),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, math.inf),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "soon"}, math.inf),
        ({"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "1"}, math.inf),
        ({"WATCHDOG_USEC": "1"}, math.inf),
    ],
)
def test_the_environment_says_whether_and_no_child_finds_it(
    environment: dict[str, str], due: float
) -> None:
    left = {**environment, "HOME": "/"}
    assert Notifier.from_environment(left).due == due
    assert left == {"HOME": "/"}


def test_without_systemd_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    Notifier().ready()
    assert not caplog.records


def test_a_systemd_that_is_gone_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "nothing"))
    with caplog.at_level(logging.WARNING):
        notifier.ready()
        notifier.stopping()
    assert len(caplog.records) == 1


def test_a_life_as_systemd_hears_it(systemd: Systemd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"good")
    env = {"NOTIFY_SOCKET": systemd.address}
    with family({"keeper": "steady", "worker": "steady"}, env=env, config=config) as program:
        starting = systemd.hears_until("READY=1")
        assert starting[0] == "STATUS=0 of 2 serve"
        assert systemd.hears() == "STATUS=2 of 2 serve"
        pid_of(program, "worker")
        assert program.stdout.find("^worker serves .* told=False")
        program.signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", systemd.hears())
        assert systemd.hears() == "READY=1"
        program.stdout.wait("^worker got 4 ")
        assert program.stop() == 0
    assert systemd.hears() == "STOPPING=1"


def test_the_watchdog_hears_the_parent_as_long_as_it_turns(systemd: Systemd) -> None:
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "20000"}
    with family({"keeper": "steady"}, env=env) as program:
        systemd.hears_until("READY=1")
        systemd.hears_until("WATCHDOG=1")
        systemd.hears_until("WATCHDOG=1")
        assert program.stop() == 0
