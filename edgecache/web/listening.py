"""Sockets to listen on, and where they are. Rule: what can't be listened on names the setting."""

import socket
import ssl
from contextlib import suppress

from aiohttp import web

from edgecache.config import Listen, Tls
from edgecache.core.errors import ConfigError

# Connects that wait until they are accepted; the kernel may allow fewer.
BACKLOG = 4096


def public_sockets(listen: Listen, count: int) -> list[socket.socket]:
    """As many sockets on one port: the kernel spreads connections over those of a group.

    :raises ConfigError: the address is taken, or none of this machine.
    """
    opened: list[socket.socket] = []
    port = listen.port
    try:
        family, *_, address = socket.getaddrinfo(
            listen.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        for _ in range(count):
            bound = socket.create_server(
                (address[0], port),
                family=family,
                backlog=BACKLOG,
                reuse_port=count > 1,
                dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
            )
            opened.append(bound)
            port = bound.getsockname()[1]  # the one that was chosen where 0 was asked for
    except OSError as error:
        for one in opened:
            one.close()
        reason = error.strerror or error
        raise ConfigError(f"listen: cannot listen on {listen.host}:{port}: {reason}") from error
    return opened


async def open_socket(
    runner: web.BaseRunner, bound: socket.socket, context: ssl.SSLContext | None = None
) -> str:
    """Accepts connections, and says where."""
    await web.SockSite(runner, bound, ssl_context=context, backlog=BACKLOG).start()
    host, port = bound.getsockname()[:2]
    return url_of(host, port, "https" if context else "http")


async def open_port(runner: web.BaseRunner, host: str, port: int, section: str) -> str:
    """Listens, and says where: the port that was chosen where 0 was asked for."""
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise ConfigError(f"{section}: cannot listen on {host}:{port}: {error.strerror}") from error
    return url_of(host, runner.addresses[-1][1], "http")


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
    except (OSError, ssl.SSLError) as error:
        with suppress(AttributeError):
            reason = error.strerror or getattr(error, "reason", "") or str(error)
        raise ConfigError(f"listen.tls: {tls.cert}, {tls.key}: {reason}") from error
