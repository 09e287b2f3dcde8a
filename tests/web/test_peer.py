"""Who asks, as one field says it."""

import re

import pytest

from edgecache.web.peer import (
    INTERNAL,
    UNKNOWN,
    Peer,
    decode,
    encode,
    is_internal,
    reading,
    version_read,
)

PEERS = [
    Peer("127.0.0.1", "http", ""),
    Peer("fe80::1%eth0", "https", "7b1e-2"),
    Peer("-", "http", "-"),
    Peer("1.2.3.4", "http", "two words\tand % and \udcff and é"),
    Peer("1.2.3.4", "http", 'a" internal -\r\nX: y'),
    INTERNAL,
    UNKNOWN,
]


@pytest.mark.parametrize("peer", PEERS)
def test_it_comes_back_as_it_was(peer: Peer) -> None:
    value = encode(peer)
    assert decode(value) == peer
    assert re.fullmatch(r"[!-~]+ [a-z-]+ [!-~]+", value)


def test_it_is_no_longer_than_what_the_log_keeps() -> None:
    value = encode(Peer("c" * 1000, "http", "\udcff" * 8000))
    assert len(value) < 600
    assert decode(value) == Peer("c" * 64, "http", "\udcff" * 64)


@pytest.mark.parametrize("value", ["", "a", "a b", "a b c d"])
def test_what_is_no_peer_is_nobody(value: str) -> None:
    assert decode(value) == UNKNOWN


def test_a_worker_names_the_version_that_it_reads_and_no_client_does() -> None:
    peer = decode(encode(reading("0f" * 16)))
    assert is_internal(peer)
    assert version_read(peer) == "0f" * 16
    client = Peer("1.2.3.4", "https", "0f" * 16)
    assert not is_internal(client)
    assert version_read(client) == ""
