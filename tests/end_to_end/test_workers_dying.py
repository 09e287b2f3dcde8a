"""A child that can't live: the others go on, everybody is told, and it comes back by itself.

What ends them is an access log that can't be opened: found out at a start only.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.children import pid_of, serving_children
from tests.end_to_end.clients import Client
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, serving, settings_for

pytestmark = pytest.mark.e2e

CHILDREN = ("keeper", "worker-1", "worker-2")
PATIENCE = 0.5


@contextmanager
def logging_server(origin: OriginThread, folder: Path) -> Iterator[tuple[Edgecache, Path]]:
    log = folder / "access.log"
    settings = settings_for(
        origin.origin.settings,
        folder,
        listen={"workers": 2, "keeper_timeout": f"{int(PATIENCE * 1000)}ms"},
        log={"access_file": str(log)},
    )
    with serving(settings, folder) as server:
        serving_children(server, *CHILDREN)
        yield server, log
        assert server.stop() == 0


@contextmanager
def deadly(log: Path) -> Iterator[None]:
    """No process with that access log can start."""
    kept = log.rename(log.with_suffix(".kept"))
    log.mkdir()
    try:
        yield
    finally:
        log.rmdir()
        kept.rename(log)


def asked(server: Edgecache, key: str) -> tuple[int, str]:
    """(status, Retry-After)"""
    with Client(server.url) as client:
        reply = client.get(f"/{key}")
    return reply.status, str(reply.fields["Retry-After"])


def test_a_worker_that_keeps_dying_is_put_off_and_told_of(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    runpod_origin.put("outputs/other.png", b"picture")
    with logging_server(runpod_origin, tmp_path) as (server, log):
        with Client(server.url) as client:
            client.get("/outputs/other.png")
        with deadly(log):
            kill_for_good(server, "worker-1")
            status, text = eventually(lambda: unready(server), "it is told")
            assert status == 503
            assert text.startswith("worker-1 keeps dying (exit 1), next start in ")
            assert server.total("edgecache_ready") == 0
            starts = len(deaths(server, "worker-1"))
            time.sleep(1)  # in which it would die dozens of times
            assert len(deaths(server, "worker-1")) - starts <= 2
        eventually(lambda: server.admin("/readyz") == (200, "ready\n"), "it recovers", within=15)
        for _ in range(8):  # both
            assert asked(server, "outputs/other.png")[0] == 200
        assert server.stderr.find(r"worker-1 ends: log\.access_file: ")


def test_without_a_keeper_hits_go_on_and_all_else_is_503_in_time(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    runpod_origin.put("outputs/there.png", b"picture")
    runpod_origin.put("outputs/new.png", b"new")
    with logging_server(runpod_origin, tmp_path) as (server, log):
        assert asked(server, "outputs/there.png")[0] == 200
        server.idle()
        with deadly(log):
            kill_for_good(server, "keeper")
            for _ in range(4):
                began = time.monotonic()
                status, retry_after = asked(server, "outputs/new.png")
                took = time.monotonic() - began
                assert status == 503
                assert int(retry_after) > 0
                assert PATIENCE <= took < PATIENCE + 1
                assert asked(server, "outputs/there.png")[0] == 200
        eventually(lambda: asked(server, "outputs/new.png")[0] == 200, "the next keeper", within=15)
        assert server.admin("/readyz") == (200, "ready\n")
        # Counted by the workers, who alone knew of them.
        assert server.total("edgecache_http_requests_total", code="503") >= 4


def deaths(server: Edgecache, name: str) -> list[str]:
    return [line for line in server.stderr if f"child ended name={name} " in line]


def unready(server: Edgecache) -> tuple[int, str] | None:
    status, text = server.admin("/readyz")
    return (status, text) if status != 200 else None


def kill_for_good(server: Edgecache, name: str) -> None:
    """Once, and until it has died of its starts as well."""
    os.kill(pid_of(server, name), signal.SIGKILL)
    eventually(lambda: len(deaths(server, name)) >= 4, f"{name} dies")
