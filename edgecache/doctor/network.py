"""Is it there: its name, its port, its certificate."""

import asyncio
import socket
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from edgecache.config_origin import is_address
from edgecache.doctor.finding import Finding, milliseconds, note, ok, problem
from edgecache.doctor.patient import Patient
from edgecache.upstream import bucket_url

SOON = 14 * 86400.0  # seconds before a certificate's end at which somebody should know
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def place(patient: Patient) -> tuple[SplitResult, str, int]:
    url = urlsplit(bucket_url(patient.origin))
    return url, url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


async def dns(patient: Patient) -> Finding:
    _, host, port = place(patient)
    if is_address(host):
        return ok(f"{host} is an address", addresses=[host])
    began = time.monotonic()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return problem(
            f"{host}: {error.strerror or error}",
            "check endpoint (RunPod's host is s3api-<datacenter>.runpod.io, in lower case)",
        )
    addresses = sorted({str(one[4][0]) for one in found})
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    seconds = time.monotonic() - began
    text = f"{host} is {addresses[0]}{more}, in {milliseconds(seconds)}"
    return ok(text, addresses=addresses, seconds=round(seconds, 6))


async def tcp(patient: Patient) -> Finding:
    _, host, port = place(patient)
    began = time.monotonic()
    try:
        async with asyncio.timeout(patient.fetch.connect_timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        text = f"port {port}: no answer in {patient.fetch.connect_timeout:g} s"
        return problem(text, "a firewall, or the wrong port in endpoint")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return problem(f"port {port}: {reason}"[:80], "check the endpoint's port and a firewall")
    seconds = time.monotonic() - began
    writer.close()
    return ok(f"port {port} answers in {milliseconds(seconds)}", seconds=round(seconds, 6))


async def tls(patient: Patient) -> Finding:
    url, host, port = place(patient)
    if url.scheme == "http":
        if host in LOOPBACK:
            return ok("none: http, on this machine", version=None)
        return note("none: http", "objects travel readable by anyone in between", version=None)
    context = ssl.create_default_context()
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return problem(
            f"the certificate is refused: {error.verify_message}",
            "check endpoint; a store of your own needs a certificate this machine trusts",
        )
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        return problem(f"no TLS: {reason}"[:80], "check the endpoint's scheme and port")
    try:
        speaks: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return certificate(speaks.version() or "", speaks.getpeercert() or {}, time.time())
    finally:
        writer.close()


def certificate(version: str, peer: object, now: float) -> Finding:
    ends = str(peer.get("notAfter", "")) if isinstance(peer, dict) else ""
    if not ends:
        return ok(version, version=version)
    at = ssl.cert_time_to_seconds(ends)
    date = datetime.fromtimestamp(at, UTC).date().isoformat()
    text = f"{version}, the certificate ends {date}"
    if at - now < SOON:
        hint = "it has to be renewed by whom the endpoint belongs to"
        return note(text, hint, version=version, ends=date)
    return ok(text, version=version, ends=date)
