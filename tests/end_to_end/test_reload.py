"""SIGHUP: another config is in force, on every process, and no client notices the change."""

import copy
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest

from tests.end_to_end.children import kill, serving_children
from tests.end_to_end.clients import Client, hammering
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, Settings, asking, serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
CHILDREN = ("keeper", "worker-1", "worker-2")
CONNECTIONS = 8  # enough to reach each worker


@contextmanager
def running(
    origin: OriginThread, workers: int, folder: Path
) -> Iterator[tuple[Edgecache, Settings]]:
    settings = settings_for(origin.origin.settings, folder, listen={"workers": workers})
    with serving(settings, folder) as server:
        if workers > 1:
            serving_children(server, *CHILDREN)
        yield server, copy.deepcopy(settings)
        assert server.stop() == 0
        assert server.stderr.find("Traceback") is None, str(server.stderr)


def test_what_a_config_decides_is_in_force_everywhere_once_it_is_reloaded(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    """On connections that were open before, too."""
    key, moved = "outputs/reloaded.png", "outputs/moved/reloaded.png"
    with ExitStack() as stack:
        other = stack.enter_context(OriginThread())
        origin.put(key, b"picture")
        origin.put(moved, b"old place")
        other.put(moved, b"new place")
        server, settings = stack.enter_context(running(origin, workers, tmp_path))
        clients = [stack.enter_context(Client(server.url)) for _ in range(CONNECTIONS)]
        app = {"Origin": "https://app.example"}
        for client in clients:
            reply = client.get(f"/{key}", app)
            assert (reply.body, reply.fields["Access-Control-Allow-Origin"]) == (b"picture", "*")
            assert "max-age=31536000" in reply.fields["Cache-Control"]
            assert client.get(f"/{moved}").body == b"old place"
            assert client.get("/models/secret.bin").status == 403
        ports = [client.port for client in clients]
        origin.put("models/secret.bin", b"public now")
        settings["origins"]["other"] = {**other.origin.settings, "bucket": "another"}
        other.origin.bucket = "another"
        settings["routes"] = [
            {"path": "/", "origin": "main", "browser_ttl": "1m"},
            {"path": "/outputs/moved/", "origin": "other", "ttl": "0s"},
        ]
        settings["access"] = {"public": ["outputs/", "models/"]}
        settings["cors"] = {"allow_origins": ["https://app.example"]}
        server.reload(settings)
        for client in clients:
            reply = client.get(f"/{key}", app)
            assert reply.body == b"picture"
            assert reply.fields["Access-Control-Allow-Origin"] == "https://app.example"
            assert "max-age=60" in reply.fields["Cache-Control"]
            assert client.get(f"/{moved}").body == b"new place"
            assert client.get("/models/secret.bin").body == b"public now"
        assert [client.port for client in clients] == ports
        other.put(moved, b"newer")  # ttl: 0s
        assert {client.get(f"/{moved}").body for client in clients} == {b"newer"}
        assert server.total("edgecache_http_requests_total", route="/outputs/moved/") == (
            2 * CONNECTIONS
        )
        check_account(server, ok=1, failed=0)


def check_account(server: Edgecache, *, ok: int, failed: int, last: int = 1) -> None:
    for result, count in (("ok", ok), ("failed", failed)):
        assert server.total("edgecache_config_reloads_total", result=result) == count
    assert server.total("edgecache_config_last_reload_successful") == last


def test_downloads_go_on(origin: OriginThread, workers: int, tmp_path: Path) -> None:
    """One that is fetched meanwhile, one from the cache, each by the config that it began with."""
    fetched, cached = "outputs/fetched.mp4", "outputs/cached.mp4"
    film = Pattern(12 * MIB, seed=21)
    origin.put(fetched, film)
    origin.put(cached, film)
    with running(origin, workers, tmp_path) as (server, settings), ExitStack() as stack:
        with Client(server.url) as client:
            assert client.get(f"/{cached}").body == film.read()
        server.idle()
        held = stack.enter_context(origin.held(fetched, after=MIB // 2))
        downloads = [stack.enter_context(asking(server, key)) for key in (fetched, cached)]
        began = [download.recv(1000) for download in downloads]
        held.wait()
        settings["access"] = {"public": ["elsewhere/"]}
        for _ in range(3):
            server.reload(settings)
        with Client(server.url) as client:
            assert client.get(f"/{cached}").status == 403
        held.release()
        for download, beginning in zip(downloads, began, strict=True):
            data = beginning
            while len(data.partition(b"\r\n\r\n")[2]) < len(film):
                piece = download.recv(MIB)
                assert piece, "cut"
                data += piece
            assert data.partition(b"\r\n\r\n")[2] == film.read()
        check_account(server, ok=3, failed=0)


def test_what_became_private_is_served_by_nobody_after_the_first_refusal(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    key = "outputs/private/face.png"
    origin.put(key, b"face")
    answers: list[tuple[float, float, int]] = []

    def ask(_: int, over: Event) -> None:
        with Client(server.url) as client:
            while not over.is_set():
                began = time.monotonic()
                status = client.get(f"/{key}").status
                answers.append((began, time.monotonic(), status))

    def answered(count: int) -> None:
        until = len(answers) + count
        eventually(lambda: len(answers) >= until, "answers")

    with running(origin, workers, tmp_path) as (server, settings):
        public, private = {"public": ["outputs/"]}, {"public": ["outputs/open/"]}
        for _ in range(6):
            answers.clear()
            with hammering(CONNECTIONS, ask):
                answered(100)
                settings["access"] = private
                server.reload(settings)
                answered(100)
            assert {status for _, _, status in answers} == {200, 403}
            refused = min(ended for _, ended, status in answers if status == 403)
            assert {status for began, _, status in answers if began > refused} == {403}
            settings["access"] = public
            server.reload(settings)


def test_a_wrong_config_changes_nothing_and_is_told_whole(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    key = "outputs/kept.png"
    origin.put(key, b"picture")
    with running(origin, workers, tmp_path) as (server, settings):
        check_account(server, ok=0, failed=0)
        wrong = copy.deepcopy(settings)
        wrong["cache"]["size"] = "10 gallons"
        wrong["listen"]["prot"] = 80
        wrong["access"] = {"public": ["models/"]}
        server.hang_up(wrong)
        for path in ("cache.size", "listen.prot"):
            server.stderr.wait(rf"ERROR .* reload: the config is kept as it was: {path}: .")
        check_account(server, ok=0, failed=1, last=0)
        for _ in range(CONNECTIONS):
            with Client(server.url) as client:
                assert client.get(f"/{key}").body == b"picture"
        assert origin.origin.secret_key not in str(server.stderr)
        server.reload(settings)
        check_account(server, ok=1, failed=1)


def test_what_needs_a_restart_is_named_and_changes_nothing_also_not_by_and_by(
    runpod_origin: OriginThread, tmp_path: Path
) -> None:
    """A process that is forked after the reload goes by what the others go by."""
    key = "outputs/fixed.mp4"
    film = Pattern(3 * MIB, seed=22)
    runpod_origin.put(key, film)
    with running(runpod_origin, 2, tmp_path) as (server, settings):
        with Client(server.url) as client:
            assert client.get(f"/{key}").body == film.read()
        server.idle()
        settings["cache"] |= {"dir": str(tmp_path / "elsewhere"), "slice_size": "64KiB"}
        settings["listen"] |= {"keepalive_timeout": "1s", "tls": {"cert": "c.pem", "key": "k.pem"}}
        server.reload(settings)
        for name in ("cache.dir", "cache.slice_size", "listen.keepalive_timeout", "listen.tls"):
            server.stderr.wait(rf"WARNING .* reload: {name} changes only with a restart")
        for name in ("keeper", "worker-1", "worker-2"):
            kill(server, name)
        bought = len(runpod_origin.asked(key))
        for _ in range(CONNECTIONS):
            with Client(server.url) as client:
                reply = client.get(f"/{key}")
            assert reply.cache_status.startswith("edgecache; hit")
            assert reply.body == film.read()
        assert len(runpod_origin.asked(key)) == bought
        assert not (tmp_path / "elsewhere").exists()
