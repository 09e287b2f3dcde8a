"""One process's life: events in their order, and an end that says how it went."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecache.config import Config
from edgecache.core.errors import ConfigError, StoreError
from edgecache.process import Events, live, live_alone, live_as_child, serve_as_child
from edgecache.supervisor import Child
from edgecache.supervisor.child import LENGTH

CONFIG = Config(origins={"main": {"endpoint": "http://127.0.0.1:9", "bucket": "b"}})  # type: ignore[dict-item]


class Story:
    """A server that does nothing, and tells what it was asked to do."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.told: list[str] = []
        self._refuses = refuses

    async def start(self, number: int = 0) -> None:
        self.told.append(f"start {number}")

    async def reload(self, config: Config, number: int) -> None:
        if self._refuses:
            raise ConfigError("no certificate")
        self.told.append(f"reload {number}")

    async def close(self) -> None:
        self.told.append("close")


@pytest.fixture
def control() -> Iterator[tuple[Child, socket.socket]]:
    """A child's end of its socket, and the parent's."""
    parents, childs = socket.socketpair()
    childs.setblocking(False)
    with parents, childs:
        yield Child("worker-1", childs), parents


async def test_events_are_dealt_with_one_after_the_other() -> None:
    story, events = Story(), Events()
    for event in (4, 5, None, 6):
        events.put_nowait(event)

    async def reload(number: int) -> None:
        await story.reload(CONFIG, number)

    await live(story, 3, events, on_ready=lambda: story.told.append("ready"), reload=reload)
    assert story.told == ["start 3", "ready", "reload 4", "reload 5", "close"]


async def test_alone_it_heeds_signals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    story, read = Story(), 0

    def read_config() -> Config | None:
        nonlocal read
        read += 1
        signal.raise_signal(signal.SIGTERM if read == 2 else signal.SIGHUP)
        return CONFIG if read == 1 else None

    await live_alone(
        story,
        Events(),
        on_ready=lambda: signal.raise_signal(signal.SIGHUP),
        read=read_config,
        drain_timeout=7,
    )
    assert story.told == ["start 0", "reload 0", "close"]
    assert [r.message for r in caplog.records] == ["reloaded", "draining for at most 7s", "stopped"]


async def test_alone_it_survives_a_config_that_it_cannot_go_by(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read() -> Config:
        signal.raise_signal(signal.SIGTERM)
        return CONFIG

    story = Story(refuses=True)
    ready = lambda: signal.raise_signal(signal.SIGHUP)  # noqa: E731
    await live_alone(story, Events(), on_ready=ready, read=read, drain_timeout=1)
    assert story.told == ["start 0", "close"]
    assert "the config is kept as it was: no certificate" in caplog.text
    assert "reloaded" not in caplog.text


async def test_a_second_signal_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    killed = asyncio.Event()

    def kill(number: int) -> None:
        raised.append(number)
        killed.set()

    monkeypatch.setattr(signal, "raise_signal", kill)

    class Slow(Story):
        async def close(self) -> None:
            await killed.wait()

    def ready() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(10):
        await live_alone(Slow(), Events(), on_ready=ready, read=lambda: None, drain_timeout=30)
    assert raised == [signal.SIGKILL]


async def test_alone_it_tells_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)

        def read() -> Config:
            signal.raise_signal(signal.SIGTERM)
            return CONFIG

        ready = lambda: signal.raise_signal(signal.SIGHUP)  # noqa: E731
        await live_alone(Story(), Events(), on_ready=ready, read=read, drain_timeout=1)
        told = [systemd.recv(200).partition(b"\n")[0] for _ in range(4)]
    assert told == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]


async def test_a_child_goes_by_what_its_parent_tells(control: tuple[Child, socket.socket]) -> None:
    child, parent = control
    story = Story()

    async def tell() -> None:
        loop = asyncio.get_running_loop()
        parent.setblocking(False)
        assert await loop.sock_recv(parent, 1) == b"r"
        parent.send(LENGTH.pack(2) + b"12")
        assert await loop.sock_recv(parent, 1) == b"a"
        parent.shutdown(socket.SHUT_WR)  # it is gone

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(tell())
        await live_as_child(story, 11, Events(), child=child, read=lambda: CONFIG)
    assert story.told == ["start 11", "reload 12", "close"]


@pytest.mark.parametrize("error", [ConfigError("port taken"), StoreError("no folder")])
def test_a_child_that_cannot_start_says_why(
    control: tuple[Child, socket.socket], caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def make() -> Story:
        raise error

    assert serve_as_child(control[0], make, 1, lambda: CONFIG, None) == 1
    assert f"worker-1 ends: {error}" in caplog.text
