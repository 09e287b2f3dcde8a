"""Several processes as one server: what they cost the origin, where they talk, how they end."""

import os
import random
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import require
from tests.end_to_end.children import all_of, is_running, serving_children
from tests.end_to_end.clients import Client
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import environment, eventually, run, running
from tests.end_to_end.serving import (
    COMMAND,
    Edgecache,
    asking,
    serving,
    settings_for,
    started,
    write_settings,
)
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
CHILDREN = ("keeper", "worker-1", "worker-2")
CLIENTS = 100


@contextmanager
def several(
    origin: OriginThread, folder: Path, env: Mapping[str, str] | None = None, **listen: object
) -> Iterator[tuple[Edgecache, dict[str, int]]]:
    """A server with two workers, and the pids of its children."""
    settings = settings_for(origin.origin.settings, folder, listen={"workers": 2, **listen})
    with serving(settings, folder, **env or {}) as server:
        yield server, serving_children(server, *CHILDREN)


def test_a_hundred_clients_of_a_cold_object_cost_one_read_of_each_byte(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    """Whole and ranges, on both workers at once."""
    key = "outputs/herd.mp4"
    film = Pattern(6 * MIB + 123, seed=31)
    whole = film.read()
    runpod_origin.put(key, film)

    def get(number: int) -> None:
        dice = random.Random(number)
        first = dice.randrange(len(whole))
        last = min(first + dice.choice((0, 1000, MIB, 3 * MIB)), len(whole) - 1)
        with Client(server.url) as client:
            if number % 2:
                reply = client.get(f"/{key}", {"Range": f"bytes={first}-{last}"})
                assert reply.body == whole[first : last + 1]
            else:
                assert client.get(f"/{key}").body == whole

    with several(runpod_origin, tmp_path) as (server, _):
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(get, number) for number in range(CLIENTS)]:
                done.result()
        server.idle()
        assert runpod_origin.sent(key) == len(whole)
        assert server.total("edgecache_origin_body_bytes_total") == len(whole)
        assert server.total("edgecache_http_requests_total") == CLIENTS
        given = sum(int(str(line["bytes"])) for line in server.access(f"/{key}", CLIENTS))
        assert server.total("edgecache_client_body_bytes_total") == given


def test_the_socket_between_them_is_for_nobody_else_and_gone_in_the_end(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    # A socket's path may not be as long as that of a test's folder.
    with (
        TemporaryDirectory() as folder,
        several(runpod_origin, tmp_path, {"TMPDIR": folder}) as (server, _),
    ):
        (path,) = Path(folder).rglob("keeper")
        assert path.is_socket()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert server.stop() == 0
        assert list(Path(folder).iterdir()) == []


def test_a_temporary_folder_that_a_socket_has_no_room_in_is_told(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    settings = settings_for(runpod_origin.origin.settings, tmp_path, listen={"workers": 2})
    file = write_settings(settings, tmp_path)
    with started("--config", file, folder=tmp_path, TMPDIR=str(folder)) as server:
        assert server.ended() == 1
    assert server.stderr.find(r"^edgecache: \$TMPDIR: no socket in .*: AF_UNIX path too long")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("count", "status"), [(1, -signal.SIGKILL), (2, 1)])
def test_a_second_signal_ends_it_at_once(
    runpod_origin: OriginThread, tmp_path: Path, count: int, status: int
) -> None:
    """With a download that nobody reads, and half a minute to drain."""
    runpod_origin.put("outputs/unread.mp4", Pattern(64 * MIB, seed=32))
    settings = settings_for(runpod_origin.origin.settings, tmp_path, listen={"workers": count})
    with serving(settings, tmp_path) as server:
        with asking(server, "outputs/unread.mp4") as client:
            assert client.recv(100)
            server.signal(signal.SIGTERM)
            server.stderr.wait("draining")
            processes = all_of(server)
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            assert server.ended(within=5) == status
            assert time.monotonic() - began < 2
        assert not any(map(is_running, processes))


def test_children_end_with_a_parent_that_is_killed(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    """And the next server can start at once: nothing holds the port or the folder."""
    with (
        TemporaryDirectory() as folder,
        several(runpod_origin, tmp_path, {"TMPDIR": folder}) as (server, children),
    ):
        os.kill(server.process.pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_running, children.values())), "they end", within=10)
        port = int(server.url.rpartition(":")[2])
        assert list(Path(folder).iterdir()) == []
    with several(runpod_origin, tmp_path, port=port) as (server, _):
        runpod_origin.put("outputs/next.png", b"next")
        with Client(server.url) as client:
            assert client.get("/outputs/next.png").body == b"next"
        assert server.stop() == 0


@pytest.mark.parametrize("count", [1, 2])
def test_it_runs_as_the_first_process_of_a_container(
    runpod_origin: OriginThread, tmp_path: Path, count: int
) -> None:
    """PID 1 has no default signal handlers, and gets the orphans."""
    unshare = require("unshare")
    contained = (unshare, "--pid", "--fork", "--mount-proc", "--kill-child")
    if run(*contained, "true", check=False).returncode:
        pytest.skip("no new PID namespace for us")
    runpod_origin.put("outputs/first.png", b"first")
    settings = settings_for(runpod_origin.origin.settings, tmp_path, listen={"workers": count})
    file = write_settings(settings, tmp_path)
    with running(
        *contained, *COMMAND, "--config", file, env=environment(), cwd=tmp_path
    ) as program:
        url, _ = program.stderr.wait(r"serving url=(\S+) admin=(\S+)").groups()
        with Client(url) as client:
            assert client.get("/outputs/first.png").body == b"first"
        inside = first_child(program.process.pid)
        assert innermost_pid(inside) == 1
        os.kill(inside, signal.SIGHUP)
        program.stderr.wait(" reloaded")
        if count > 1:
            worker = next(pid for pid in all_children(inside) if innermost_pid(pid) > 2)
            os.kill(worker, signal.SIGKILL)
            program.stderr.wait("child ended name=worker-.* end=SIGKILL")
        os.kill(inside, signal.SIGTERM)
        assert program.ended(within=10) == 0


def all_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def first_child(pid: int) -> int:
    return all_children(pid)[0]


def innermost_pid(pid: int) -> int:
    found = re.search(r"^NSpid:.*\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


FORWARDED = {
    "X-Forwarded-For": "198.51.100.9, 203.0.113.7, 127.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Request-Id": "abc-1",
}


@pytest.mark.parametrize(
    ("trusted", "client"),
    [(["127.0.0.0/8"], "203.0.113.7"), (["192.0.2.1"], "127.0.0.1"), ([], "127.0.0.1")],
)
def test_a_proxy_in_front_names_the_client_whoever_answers(
    origin: OriginThread, workers: int, tmp_path: Path, trusted: list[str], client: str
) -> None:
    """The keeper (a miss), a worker (several slices), the fast path (small, and known)."""
    small, long = "outputs/forwarded.png", "outputs/forwarded.mp4"
    origin.put(small, b"picture")
    origin.put(long, Pattern(5 * MIB, seed=33))
    listen = {"workers": workers, "trusted_proxies": trusted}
    with serving(settings_for(origin.origin.settings, tmp_path, listen=listen), tmp_path) as server:
        for turn in range(4):
            for key in (small, long):
                with Client(server.url) as one:
                    assert one.get(f"/{key}", FORWARDED).status == 200
            if not turn:
                server.idle()
        for key in (small, long):
            lines = server.access(f"/{key}", 4)
            assert {line["client"] for line in lines} == {client}
            assert {line["request_id"] for line in lines} == {"abc-1"}
            assert [line["result"] for line in lines] == ["miss", "hit", "hit", "hit"]


def test_a_connection_that_sends_nothing_holds_nobody_up(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    runpod_origin.put("outputs/beside.png", b"picture")
    with several(runpod_origin, tmp_path) as (server, _):
        host, _, port = server.url.removeprefix("http://").partition(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(200)]
        with Client(server.url) as client:
            assert client.get("/outputs/beside.png").body == b"picture"
        for one in idle:
            one.close()
