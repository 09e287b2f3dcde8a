"""The admin port as commands ask it. Rule: blocking, one request at a time; whatever keeps it from
being answered is an `AdminError` that says what to do."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from edgecache.cli.serve import complain
from edgecache.config import load
from edgecache.core.errors import ConfigError, EdgecacheError

# Seconds. Longer than the server takes for anything but a stuck disk.
PATIENCE = 60.0
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not to bind


class AdminError(EdgecacheError):
    """The server is not there, or refused; `message` has its words."""


class AdminClient:
    def __init__(self, url: str, token: str, *, timeout: float = PATIENCE) -> None:
        self.url = url
        self._token = token
        self._timeout = timeout
        # Not through a proxy of the environment: the port is this machine's, the token secret.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> dict[str, Any]:
        """:raises AdminError: there is no such answer."""
        return self._ask(urllib.request.Request(self.url + path))  # noqa: S310  # http alone

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """:raises AdminError: it was not done."""
        data = json.dumps(body).encode()
        fields = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, data, fields))  # noqa: S310

    def _ask(self, request: urllib.request.Request) -> dict[str, Any]:
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._parsed(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, error.read()) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _parsed(self, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AdminError(
                f"{self.url} does not answer as edgecache does",
                hint="admin.host and admin.port of the config must be the running server's",
            )
        return answer

    def _refused(self, status: int, body: bytes) -> AdminError:
        if status == 401:
            return AdminError(
                "the server refuses the admin token",
                hint="admin.token of the config must be the running server's: is it its config?",
            )
        try:
            message = json.loads(body)["error"]["message"]
        except (ValueError, TypeError, KeyError):
            message = body.decode("utf-8", "replace").strip()[:200]
        return AdminError(f"the server answered {status}: {message}")

    def _unreachable(self, reason: object) -> AdminError:
        if isinstance(reason, TimeoutError):
            return AdminError(f"no answer from {self.url} in {self._timeout:g} s")
        return AdminError(
            f"no server at {self.url}: {reason}",
            hint="start it with `edgecache serve`, or give its config with --config",
        )


def admin_client(config: Path | None) -> AdminClient:
    """Of the server that has this config.

    :raises ConfigError: there is no such config, or the port is not in it.
    """
    admin = load(config).admin
    if not admin.port:
        raise ConfigError(
            "admin.port is 0: the server chose a port that is not known here",
            hint="set admin.port",
        )
    host = ANY_ADDRESS.get(admin.host, admin.host)
    name = f"[{host}]" if ":" in host else host
    return AdminClient(f"http://{name}:{admin.port}", admin.token.get_secret_value())


@contextmanager
def complaining() -> Iterator[None]:
    """Ends the command with what went wrong: 2 where its config is, 1 where the work is."""
    try:
        yield
    except EdgecacheError as error:
        complain(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
