"""Tells systemd how the service is: sd_notify(3), without its library.

Rule of this module: nothing depends on it. What cannot be told is logged once.
"""

import logging
import math
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

log = logging.getLogger("edgecache.supervisor")

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
# For a systemd that does not read, in seconds.
PATIENCE = 1.0


class Notifier:
    """`address` is a path, or @ and an abstract name; "" tells nobody.

    `due` is the monotonic time of the next beat for the watchdog; inf: it wants none.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self._interval = watchdog / 2  # as sd_watchdog_enabled(3) recommends
        self._failed = False
        self.due = 0.0 if watchdog else math.inf

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> "Notifier":
        """Takes the variables out of it, so that no child speaks for the service."""
        address, microseconds, pid = (environment.pop(name, "") for name in VARIABLES)
        if address and not address.startswith(("/", "@")):
            log.warning("NOTIFY_SOCKET is of an unknown kind address=%s", address)
            address = ""
        watchdog = 0.0
        if address and pid in ("", str(os.getpid())):
            with suppress(ValueError):
                watchdog = max(int(microseconds) / 1e6, 0.0)
        return cls(address, watchdog)

    def ready(self) -> None:
        self._tell("READY=1")

    def reloading(self, now: float) -> None:
        """Until `ready`. Type=notify-reload compares the time with that of its SIGHUP."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1e6)}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def beat(self, now: float) -> None:
        if now >= self.due:
            self.due = now + self._interval
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            # One for each message: no child inherits it.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(PATIENCE)
                sender.sendto(message.encode(), address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be told error=%s", error)
            self._failed = True
