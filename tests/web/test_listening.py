"""Sockets and certificates; what can't be used names its setting."""

import socket
from pathlib import Path

import pytest

from edgecache.config_listen import Tls
from edgecache.core.errors import CannotStart, ConfigError
from edgecache.web.listening import bind, bind_group, load_certificate, tls_context, url_of
from tests.certificates import make_certificate


def test_a_group_listens_on_one_port() -> None:
    group = bind_group("127.0.0.1", 0, 3)
    try:
        addresses = {one.getsockname() for one in group}
        assert len(addresses) == 1
        with socket.create_connection(addresses.pop(), timeout=5):
            pass
    finally:
        for one in group:
            one.close()


@pytest.mark.parametrize("section", ["listen", "admin"])
def test_a_taken_port_is_named(section: str) -> None:
    with bind("127.0.0.1", 0, section=section) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"{section}: cannot listen on 127.0.0.1:{port}: "):
            bind("127.0.0.1", port, section=section)
        with pytest.raises(CannotStart, match=r"listen: cannot listen on "):
            bind_group("127.0.0.1", port, 2)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(CannotStart, match=rf"listen: cannot listen on {host}:1234: ."):
        bind(host, 1234, section="listen")


def test_one_socket_for_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with bind("::", 0, section="listen") as both:
        port = both.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=5).close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("192.0.2.1", "http://192.0.2.1:80"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
    ],
)
def test_where_that_is(host: str, url: str) -> None:
    assert url_of(host, 80, "http") == url


def test_no_tls_is_asked_for() -> None:
    assert tls_context(Tls()) is None


def test_a_certificate_and_its_key_in_two_files_or_one(tmp_path: Path) -> None:
    make_certificate(tmp_path, "edge")
    cert, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    assert tls_context(Tls(cert=cert, key=key))
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    assert tls_context(Tls(cert=both))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for folder in (tmp_path, other):
        make_certificate(folder, "edge")
    cert, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    context = tls_context(Tls(cert=cert, key=key))
    assert context
    for wrong in (
        Tls(cert=tmp_path / "missing.pem", key=key),
        Tls(cert=cert, key=other / "tls.key"),
        Tls(cert=key, key=key),
        Tls(cert=cert),
    ):
        with pytest.raises(ConfigError, match=r"listen\.tls: .*tls|missing"):
            tls_context(wrong)
        with pytest.raises(ConfigError):
            load_certificate(context, wrong)
