"""TLS without anything in front, with one process and with several."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.end_to_end.children import kill
from tests.end_to_end.clients import Client
from tests.end_to_end.curl import curl
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import run
from tests.end_to_end.serving import Edgecache, Settings, serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
CONNECTIONS = 8  # enough to reach each worker


@contextmanager
def secure(
    origin: OriginThread, workers: int, folder: Path
) -> Iterator[tuple[Edgecache, Settings]]:
    make_certificate(folder, "first")
    tls = {"cert": str(folder / "tls.pem"), "key": str(folder / "tls.key")}
    settings = settings_for(origin.origin.settings, folder, listen={"workers": workers, "tls": tls})
    with serving(settings, folder) as server:
        assert server.url.startswith("https://")
        yield server, settings
        assert server.stop() == 0
        assert server.stderr.find("ERROR .*Traceback") is None


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "tls.pem")


def common_name(url: str) -> str:
    """In the certificate that a new connection is shown."""
    host, _, port = url.removeprefix("https://").partition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    text = run("openssl", "x509", "-noout", "-subject", input=pem.encode()).stdout.decode()
    return text.strip().rpartition("=")[2].strip()


def test_objects_come_over_tls(origin: OriginThread, workers: int, tmp_path: Path) -> None:
    small, long = "outputs/tls.png", "outputs/tls.mp4"
    film = Pattern(5 * MIB + 7, seed=41)
    origin.put(small, b"picture")
    origin.put(long, film)
    with secure(origin, workers, tmp_path) as (server, _):
        trusted = ("--cacert", tmp_path / "tls.pem", "--http1.1")
        for expected in ("fwd=uri-miss", "hit"):
            for key, body in ((small, b"picture"), (long, film.read())):
                got = curl(*trusted, f"{server.url}/{key}")
                assert got.body == body
                assert got.cache_status.startswith(f"edgecache; {expected}")
            server.idle()
        part = curl(*trusted, "-r", "1000000-3999999", f"{server.url}/{long}")
        assert (part.status, part.body) == (206, film.read(1_000_000, 4_000_000))
        with Client(server.url, trusting(tmp_path)) as client:  # many on one connection
            for _ in range(20):
                assert client.get(f"/{small}").body == b"picture"
                assert client.get(f"/{long}", {"Range": "bytes=-5"}).body == film.read()[-5:]


def test_a_new_certificate_is_shown_after_a_reload_and_a_bad_one_is_not(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    key = "outputs/renewed.png"
    origin.put(key, b"picture")
    with secure(origin, workers, tmp_path) as (server, settings), ExitStack() as stack:
        context = trusting(tmp_path)
        clients = [stack.enter_context(Client(server.url, context)) for _ in range(CONNECTIONS)]
        for client in clients:
            assert client.get(f"/{key}").body == b"picture"
        assert {common_name(server.url) for _ in range(CONNECTIONS)} == {"first"}
        make_certificate(tmp_path, "second")
        server.reload(settings)
        assert {common_name(server.url) for _ in range(CONNECTIONS)} == {"second"}
        for client in clients:  # theirs go on
            assert client.get(f"/{key}").body == b"picture"
            client.close()
        (tmp_path / "tls.pem").write_text("no certificate")
        server.hang_up(settings)
        server.stderr.wait("ERROR .* reload: the config is kept as it was: listen.tls: ")
        assert {common_name(server.url) for _ in range(CONNECTIONS)} == {"second"}
        assert server.total("edgecache_config_last_reload_successful") == 0
        with Client(server.url, context) as client, pytest.raises(ssl.SSLError):
            client.get(f"/{key}")
        if workers > 1:  # who is forked now has the good one too
            for name in ("keeper", "worker-1", "worker-2"):
                kill(server, name)
            assert {common_name(server.url) for _ in range(CONNECTIONS)} == {"second"}
        make_certificate(tmp_path, "third")
        server.reload(settings)
        assert {common_name(server.url) for _ in range(CONNECTIONS)} == {"third"}


def test_the_log_has_https_clients_and_nothing_of_those_that_fail(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    """Plain HTTP on that port, and a client that does not trust us: no traceback, no trouble."""
    origin.put("outputs/plain.png", b"picture")
    with secure(origin, workers, tmp_path) as (server, _):
        plain = server.url.replace("https:", "http:")
        for url in (plain, server.url):
            done = run("curl", "-q", "-s", "--max-time", "5", url, check=False)
            assert done.returncode
        trusted = ("--cacert", tmp_path / "tls.pem")
        assert curl(*trusted, f"{server.url}/outputs/plain.png").body == b"picture"
        assert server.stderr.find("Traceback|ERROR") is None, str(server.stderr)
