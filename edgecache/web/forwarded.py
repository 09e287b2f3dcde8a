"""X-Forwarded-For and -Proto, believed of trusted proxies only.

Rule of this module: read from the right, which is the proxies' end; what a client wrote further
left decides nothing.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from multidict import CIMultiDictProxy


class Networks:
    """`address in networks`, for texts; what is no address is in none."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._contains = lru_cache(1024)(self._look)

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and self._contains(address)

    def _look(self, address: str) -> bool:
        found = parsed(address)
        return found is not None and any(found in network for network in self._networks)


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def forwarded(
    headers: CIMultiDictProxy[str], client: str, scheme: str, trusted: Networks
) -> tuple[str, str]:
    """(client, scheme) as the proxies say: the address that the last untrusted hop came from."""
    hops = [hop.strip() for hop in ",".join(headers.getall("X-Forwarded-For", ())).split(",")]
    for hop in reversed(hops):
        if (address := without_port(hop)) is None:
            break
        client = address
        if address not in trusted:
            break
    said = ",".join(headers.getall("X-Forwarded-Proto", ())).rpartition(",")[2].strip().lower()
    return client, said if said in ("http", "https") else scheme


def without_port(hop: str) -> str | None:
    """203.0.113.7:4711 and [2001:db8::1]:443 occur; None: not an address."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return None if parsed(hop) is None else hop
