"""Sockets to listen on, and where they are. Rule: what can't be listened on names the setting."""

import socket
import ssl

from aiohttp import web

from edgecache.config_listen import Tls
from edgecache.core.errors import CannotStart, ConfigError

# Connects that wait until they are accepted; the kernel may allow fewer.
BACKLOG = 4096


def bind(host: str, port: int, *, section: str, shares: bool = False) -> socket.socket:
    """A socket that listens; `shares`: others may listen on its port, and the kernel spreads
    connections over them.

    :raises CannotStart: the address is taken, or none of this machine; `section` is the setting's.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(
            (str(address[0]), port),
            family=family,
            backlog=BACKLOG,
            reuse_port=shares,
            dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        reason = error.strerror or error
        raise CannotStart(f"{section}: cannot listen on {host}:{port}: {reason}") from error


def bind_group(host: str, port: int, count: int) -> list[socket.socket]:
    """As many sockets on one port, which is one that is free where `port` is 0."""
    first = bind(host, port, section="listen", shares=True)
    chosen = first.getsockname()[1]
    others = [bind(host, chosen, section="listen", shares=True) for _ in range(count - 1)]
    return [first, *others]


async def accept_on(
    runner: web.BaseRunner, bound: socket.socket, context: ssl.SSLContext | None = None
) -> str:
    """Accepts connections, and says where."""
    await web.SockSite(runner, bound, ssl_context=context, backlog=BACKLOG).start()
    host, port = bound.getsockname()[:2]
    return url_of(host, port, "https" if context else "http")


def url_of(host: str, port: int, scheme: str) -> str:
    name = "127.0.0.1" if host in ("0.0.0.0", "", "::") else host  # noqa: S104
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"


def tls_context(tls: Tls) -> ssl.SSLContext | None:
    """None: no TLS is asked for.

    :raises ConfigError: certificate or key can't be read, or do not belong together.
    """
    if tls.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, tls)
    return context


def load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    """Handshakes from now on use it.

    :raises ConfigError: as `tls_context`.
    """
    try:
        context.load_cert_chain(str(tls.cert), tls.key and str(tls.key))
    except OSError as error:  # ssl's errors are
        reason = getattr(error, "reason", "") or error.strerror or error
        raise ConfigError(f"listen.tls: {tls.cert}, {tls.key}: {reason}") from error
