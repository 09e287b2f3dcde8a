"""Name, port, certificate."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from edgecache.config_fetch import Fetch
from edgecache.doctor import network
from edgecache.doctor.finding import State
from edgecache.doctor.network import SOON, certificate
from tests.certificates import make_certificate
from tests.doctoring import examined, found, patient_of
from tests.runpod import RunPodOrigin

ENDS = "Nov 23 00:00:00 2030 GMT"


async def test_an_address_needs_no_name(store: RunPodOrigin) -> None:
    assert (await found(store, "DNS")).text == "127.0.0.1 is an address"


async def test_a_name_is_looked_up(store: RunPodOrigin) -> None:
    finding = await found(store, "DNS", endpoint=f"http://localhost:{store.port}")
    assert finding.state is State.OK
    assert "localhost is " in finding.text


async def test_no_such_host(store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with patient_of(store, endpoint="http://s3api-eu-ro-9.runpod.io") as patient:
        findings = await examined(patient)
    assert findings["DNS"].text == "s3api-eu-ro-9.runpod.io: Name or service not known"
    assert "s3api-<datacenter>" in findings["DNS"].hint
    assert {findings[name].state for name in ("TCP", "TLS", "listing", "read")} == {State.SKIPPED}


async def test_nobody_listens(store: RunPodOrigin) -> None:
    await store.refuse()
    async with patient_of(store) as patient:
        findings = await examined(patient)
    assert findings["TCP"].state is State.PROBLEM
    assert "port" in findings["TCP"].hint
    assert findings["read"].text == "not asked: see TLS"


async def test_nobody_answers(store: RunPodOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", never)
    quick = Fetch(connect_timeout=0.05)
    async with patient_of(store, fetch=quick) as patient:
        finding = await network.tcp(patient)
    assert (finding.state, "firewall" in finding.hint) == (State.PROBLEM, True)


async def test_http_to_elsewhere_can_be_read_in_between(store: RunPodOrigin) -> None:
    async with patient_of(store, endpoint="http://s3.example.com") as patient:
        assert (await network.tls(patient)).state is State.NOTE


async def test_a_certificate_that_nobody_signed(store: RunPodOrigin, tmp_path: Path) -> None:
    make_certificate(tmp_path, "s3")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem", tmp_path / "tls.key")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with patient_of(store, endpoint=f"https://127.0.0.1:{port}") as patient:
            finding = await network.tls(patient)
    assert finding.state is State.PROBLEM
    assert "certificate is refused: self-signed certificate" in finding.text.replace(
        "self s", "self-s"
    )


async def test_what_does_not_speak_tls(store: RunPodOrigin) -> None:
    async with patient_of(store, endpoint=f"https://127.0.0.1:{store.port}") as patient:
        finding = await network.tls(patient)
    assert finding.text.startswith("no TLS: ")
    assert "scheme" in finding.hint


@pytest.mark.parametrize(
    ("before", "state"), [(SOON + 1, State.OK), (SOON - 1, State.NOTE), (-1, State.NOTE)]
)
def test_a_certificate_that_ends_soon(before: float, state: State) -> None:
    now = ssl.cert_time_to_seconds(ENDS) - before
    finding = certificate("TLSv1.3", {"notAfter": ENDS}, now)
    assert (finding.state, finding.facts["ends"]) == (state, "2030-11-23")
    assert finding.text == "TLSv1.3, the certificate ends 2030-11-23"


def test_a_certificate_that_tells_no_end() -> None:
    assert certificate("TLSv1.3", {}, 0).text == "TLSv1.3"
