"""Headless Chromium, driven over the DevTools protocol. Rule of this module: nothing is waited for
by time; the browser says when it has loaded, and a page's promises say the rest."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.conftest import require
from tests.end_to_end.programs import PATIENCE, environment, running

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1000,600",
    "--remote-debugging-port=0",
]


class Page:
    """A tab."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session = ""
        self._calls = 0
        self._events: list[str] = []

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """One command and its answer; what happens meanwhile is remembered."""
        self._calls += 1
        command: dict[str, object] = {"id": self._calls, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        await self._socket.send_json(command)
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == self._calls:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._events.append(message["method"])

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", flatten=True, **target)
        self._session = attached["sessionId"]
        await self.call("Page.enable")

    async def open(self, url: str) -> None:
        """Goes there, and waits until its scripts have run."""
        self._events.clear()
        await self.call("Page.navigate", url=url)
        while "Page.domContentEventFired" not in self._events:
            message = await self._socket.receive_json(timeout=PATIENCE)
            self._events.append(message["method"])

    async def evaluate(self, expression: str) -> Any:
        """What the expression, or the promise that it is, comes to."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def screenshot(self) -> bytes:
        """As PNG."""
        shot = await self.call("Page.captureScreenshot")
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Page]:
    """A browser of its own, with one empty tab."""
    command = (require("chromium"), *FLAGS, f"--user-data-dir={profile}", "about:blank")
    with running(*command, env=environment(HOME=str(profile))) as browser:
        endpoint = browser.stderr.wait(r"DevTools listening on (ws://\S+)")[1]
        async with (
            ClientSession() as session,
            session.ws_connect(endpoint, max_msg_size=2**25) as socket,
        ):
            page = Page(socket)
            await page.attach()
            yield page
