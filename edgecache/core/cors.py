"""CORS fields (the Fetch standard, §3.2): who may read our answers from a script.

Rule of this module: fixed lists and the operator's own entries only; nothing that a client sent
is ever put into an answer.
"""

from collections.abc import Mapping, Sequence

METHODS = "GET, HEAD"
REQUEST_HEADERS = "Range, If-Range, If-None-Match, If-Modified-Since"
EXPOSED_HEADERS = "Content-Range, Content-Length, Accept-Ranges, ETag, Cache-Status, Age"

Fields = tuple[tuple[str, str], ...]


def response_fields(origin: str | None, allow_origins: Sequence[str]) -> Fields:
    """What every answer carries, errors included; `origin` is the request's Origin.

    An answer that depends on the origin says so (`Vary`) even where it allows nothing, else a
    cache on the way would give it to the next origin too.
    """
    if "*" in allow_origins:
        return _allow("*", ("Access-Control-Expose-Headers", EXPOSED_HEADERS))
    if not allow_origins:
        return ()
    vary = ("Vary", "Origin")
    if origin is None or (allowed := _listed(origin, allow_origins)) is None:
        return (vary,)
    return _allow(allowed, ("Access-Control-Expose-Headers", EXPOSED_HEADERS), vary)


def preflight_fields(
    headers: Mapping[str, str], allow_origins: Sequence[str], max_age: float
) -> Fields:
    """What the answer to a preflight carries besides its 204; nothing: not allowed, or not one.

    A method or field outside the lists is not refused here: the browser compares, and names in
    its console what is missing.
    """
    origin = headers.get("Origin")
    if origin is None or "Access-Control-Request-Method" not in headers:
        return ()
    allowed = "*" if "*" in allow_origins else _listed(origin, allow_origins)
    if allowed is None:
        return ()
    fields = (
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", REQUEST_HEADERS),
        ("Access-Control-Max-Age", str(int(max_age))),
    )
    return _allow(allowed, *fields, *(() if allowed == "*" else (("Vary", "Origin"),)))


def _listed(origin: str, allow_origins: Sequence[str]) -> str | None:
    """The operator's entry for `origin`, spelled as browsers do: lower case, no "/" at its end."""
    entries = (entry.rstrip("/").lower() for entry in allow_origins)
    return next((entry for entry in entries if entry == origin), None)


def _allow(origin: str, *fields: tuple[str, str]) -> Fields:
    return (("Access-Control-Allow-Origin", origin), *fields)
