"""One tree of errors. Rule of this module: each says whose fault it is (its branch), which status
the client gets (`status`), and what to do about it (`hint`, for the log and the command line).

The message may reach the client, so it never holds the origin's words, a path or a secret;
`hint` never reaches the client.
"""

from math import ceil


class EdgecacheError(Exception):
    status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.forward_status = 0  # what the origin answered with, 0: it was not asked, or silent
        self.stale = False  # it was asked because what is stored is stale
        self.detail = ""  # more of what was done, for Cache-Status
        self.bought = 0  # body bytes of the origin's answer


class ConfigError(EdgecacheError):
    """The operator's: every problem at once, one a line."""


class CannotStart(EdgecacheError):
    """The machine's, not the config's: tried again later, the same config may do."""


class ClientError(EdgecacheError):
    """The client's."""

    status = 400


class BadTarget(ClientError):
    """The request target does not name an object (400)."""


class Forbidden(ClientError):
    """Not public. Says nothing of whether the key exists (403)."""

    status = 403


class MethodNotAllowed(ClientError):
    status = 405


class NotFound(ClientError):
    """The origin has no such object (404). `storable`: it may be remembered."""

    status = 404

    def __init__(self, message: str, *, hint: str = "", storable: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.storable = storable


class RangeNotSatisfiable(ClientError):
    """RFC 9110 §15.5.17; `complete_length` is for `Content-Range: bytes */N`."""

    status = 416

    def __init__(self, complete_length: int) -> None:
        super().__init__(f"the object has {complete_length} bytes")
        self.complete_length = complete_length


class UpstreamError(EdgecacheError):
    """The origin's or the network's: refused, reset, short, or an answer of no use (502)."""

    status = 502


class UpstreamDenied(UpstreamError):
    """The origin refused our credentials: our configuration, never the client's 403."""


class UpstreamTimeout(UpstreamError):
    status = 504


class UpstreamBusy(UpstreamError):
    """The origin asks to slow down (429, 503), or our limits are reached; times in seconds."""

    status = 503

    def __init__(self, message: str, *, retry_after: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.wish = 0  # after how long the origin wants to be asked again, 0: it did not say


class NotAsked(UpstreamBusy):
    """Ours: the origin is left alone, or has as many requests as it may. `detail` says which."""

    def __init__(self, message: str, *, detail: str, retry_after: float, hint: str = "") -> None:
        super().__init__(message, retry_after=max(1, ceil(retry_after)), hint=hint)
        self.detail = detail


class Unwanted(NotAsked):
    """Nobody waits for it any more: no client gets this."""

    def __init__(self) -> None:
        super().__init__("nobody waits for it any more", detail="unwanted", retry_after=1)


class Stopped(NotAsked):
    """The server ends, or has another config by now."""

    def __init__(self) -> None:
        message = "the origin is not asked any more: the server ends, or has a new config"
        super().__init__(message, detail="stopped", retry_after=1)


class VersionChanged(UpstreamError):
    """The object was replaced while it was read. Before the headers: plan again. After: cut."""


class Unavailable(EdgecacheError):
    """Ours: the process that can answer is not there, or was lost. Soon it is again (503)."""

    status = 503
    retry_after = 1  # seconds


class StoreError(EdgecacheError):
    """The disk's. Never reaches a client: the cache is passed by."""
