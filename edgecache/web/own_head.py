"""The field lines that every answer of edgecache carries, whatever it answers."""

from collections.abc import Sequence

from edgecache.core.answer import render
from edgecache.core.cors import response_fields

SERVER = "Server: edgecache\r\n"


class OwnHead:
    """Rendered once where it does not depend on the request's Origin."""

    def __init__(self, allow_origins: Sequence[str]) -> None:
        self._allow_origins = allow_origins
        self._open: str | None = None
        if "*" in allow_origins:
            self._open = self._render(None)

    def lines(self, origin: str | None) -> str:
        return self._render(origin) if self._open is None else self._open

    def relevant(self, origin: str | None) -> str | None:
        """What of it the lines depend on."""
        return origin if self._open is None else None

    def _render(self, origin: str | None) -> str:
        return SERVER + render(response_fields(origin, self._allow_origins))
