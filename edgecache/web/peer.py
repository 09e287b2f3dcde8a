"""Who asks, and how a worker says so to the keeper.

Rule of this module: what is read from the field is believed only on the keeper's own socket.
"""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from aiohttp import web

from edgecache.core.accesslog import LIMITS

# The first that a keeper sends on each connection: it lives and has accepted it, which a connection
# that waits in the backlog of a dead one's socket cannot tell.
GREETING = b"edgecache-relay 1\n"
FIELD = "Edgecache-Relay"


class Peer(NamedTuple):
    """`scheme` is http or https for a client, internal for the worker itself; `request_id` is as
    the client sent it, "" without one. What a worker asks for itself has there the version whose
    bytes it needs the rest of."""

    client: str
    scheme: str
    request_id: str


# A worker that speaks for itself. It never takes a scheme from what a client sends.
INTERNAL = Peer("-", "internal", "")


def reading(version: str) -> Peer:
    return INTERNAL._replace(request_id=version)


def version_read(peer: Peer) -> str:
    """ "": of a client, who wants whatever there is."""
    return peer.request_id if is_internal(peer) else ""


def is_internal(peer: Peer) -> bool:
    return peer.scheme == INTERNAL.scheme


UNKNOWN = Peer("-", "-", "")
PEER = web.RequestKey("peer", Peer)


def encode(peer: Peer) -> str:
    """The field's value: three words of visible ASCII, no longer than what the log would keep."""
    client = _word(peer.client[: LIMITS["client"]])
    request_id = _word(peer.request_id[: LIMITS["request_id"]]).replace("-", "%2D")
    return f"{client} {peer.scheme} {request_id or '-'}"


def decode(value: str) -> Peer:
    match value.split(" "):
        case [client, scheme, request_id]:
            return Peer(_text(client), scheme, "" if request_id == "-" else _text(request_id))
        case _:
            return UNKNOWN


@lru_cache(4096)
def _word(text: str) -> str:
    return quote(text, safe=":", errors="surrogateescape")


def _text(word: str) -> str:
    return unquote(word, errors="surrogateescape")
