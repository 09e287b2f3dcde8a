"""The admin port from the command line: what it answers, and each way in which it does not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer

from edgecache.cli.admin_client import AdminClient, AdminError, admin_client, complaining
from edgecache.core.errors import ConfigError, StoreError


class Server(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = 200, b"{}"
        self.seen: list[tuple[str, str, str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, token, body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_asks_with_the_token_and_gives_the_answer(server: Server) -> None:
    server.body = b'{"purged": 1}'
    client = AdminClient(server.url, "t0ken")
    assert client.get("/api/stats") == {"purged": 1}
    assert client.post("/api/purge", {"key": "ä"}) == {"purged": 1}
    (got, posted) = server.seen
    assert got == ("GET", "/api/stats", "Bearer t0ken", b"")
    assert posted[:3] == ("POST", "/api/purge", "Bearer t0ken")
    assert json.loads(posted[3]) == {"key": "ä"}


def test_without_a_token_none_is_sent(server: Server) -> None:
    AdminClient(server.url, "").get("/")
    assert server.seen[0][2] == ""


def test_a_proxy_of_the_environment_is_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert AdminClient(server.url, "").get("/") == {}


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"this needs the token", "the server refuses the admin token"),
        (503, b'{"error": {"message": "disk full"}}', "the server answered 503: disk full"),
        (404, b"404: Not Found", "the server answered 404: 404: Not Found"),
        (500, b"[]", "the server answered 500: []"),
        (200, b"<html>", "does not answer as edgecache does"),
        (200, b"[]", "does not answer as edgecache does"),
    ],
)
def test_a_refusal_says_why(server: Server, status: int, body: bytes, message: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(AdminError, match=message.replace("[]", r"\[\]")):
        AdminClient(server.url, "").get("/")


def test_no_server_says_what_to_start(server: Server) -> None:
    server.server_close()
    with pytest.raises(AdminError, match="no server at") as caught:
        AdminClient(server.url, "").get("/")
    assert "edgecache serve" in caught.value.hint


def test_a_server_that_hangs_is_not_waited_for() -> None:
    with Server() as server, pytest.raises(AdminError, match=r"no answer from .* in 0\.01 s"):
        AdminClient(server.url, "", timeout=0.01).get("/")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("fd00::5", "[fd00::5]"),
        ("localhost", "localhost"),
    ],
)
def test_it_asks_where_the_config_says_the_server_listens(
    tmp_path: Path, host: str, name: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "origins: {a: {endpoint: 'http://127.0.0.1:1', bucket: b}}\n"
        f"admin: {{host: '{host}', port: 9999, token: secret}}\n"
    )
    assert admin_client(config).url == f"http://{name}:9999"


def test_a_port_that_the_server_chose_is_not_known(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "origins: {a: {endpoint: 'http://127.0.0.1:1', bucket: b}}\nadmin: {port: 0}\n"
    )
    with pytest.raises(ConfigError, match=r"admin\.port"):
        admin_client(config)


@pytest.mark.parametrize(("error", "status"), [(ConfigError, 2), (AdminError, 1), (StoreError, 1)])
def test_a_command_ends_with_what_went_wrong(
    capsys: pytest.CaptureFixture[str], error: type[ConfigError], status: int
) -> None:
    with pytest.raises(typer.Exit) as caught, complaining():
        raise error("no", hint="try this")
    assert caught.value.exit_code == status
    assert capsys.readouterr().err == "edgecache: no\nhint: try this\n"
