"""Whose keys sign, and that finding or renewing them waits in nobody's way."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import RefreshableCredentials
from botocore.session import Session
from pydantic import SecretStr

from edgecache import signing
from edgecache.config import Origin
from edgecache.core.errors import UpstreamDenied
from edgecache.signing import PAUSE, Signer
from tests.conftest import FakeClock
from tests.sigv4 import Credentials, Refused, SentRequest, verify

URL = "http://s3.example.com/media/a%20b%3D.png"
NOW = datetime.now(UTC).timestamp()


def origin(**settings: Any) -> Origin:
    return Origin(endpoint="http://s3.example.com", bucket="media", **settings)


def check(headers: dict[str, str], access_key: str, secret_key: str) -> tuple[str, ...]:
    """Verify by the specification; the names of what is sent."""
    sent = [("host", "s3.example.com"), *((name.lower(), value) for name, value in headers.items())]
    request = SentRequest(method="GET", target="/media/a%20b%3D.png", headers=sent)
    verify(request, Credentials(access_key, secret_key, "us-east-1"), NOW)
    return tuple(name for name, _ in sent)


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of the machine's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def test_without_keys_nothing_is_added() -> None:
    assert await Signer(origin()).headers("GET", URL) == {}
    assert await Signer(origin()).presigned(URL, 60) == URL


async def test_a_session_token_is_sent_and_signed() -> None:
    token = {"session_token": SecretStr("to/ken+==")}
    signer = Signer(origin(access_key="AK", secret_key=SecretStr("SK"), **token))
    headers = await signer.headers("GET", URL)
    assert headers["X-Amz-Security-Token"] == "to/ken+=="
    assert "x-amz-security-token" in check(headers, "AK", "SK")
    with pytest.raises(Refused):
        check(headers | {"X-Amz-Security-Token": "another"}, "AK", "SK")


async def test_a_body_is_signed() -> None:
    signer = Signer(origin(access_key="AK", secret_key=SecretStr("SK")))
    headers = await signer.headers("PUT", URL, b"body")
    sent = [("host", "s3.example.com"), *((name.lower(), value) for name, value in headers.items())]
    request = SentRequest(method="PUT", target="/media/a%20b%3D.png", headers=sent, body=b"body")
    verify(request, Credentials("AK", "SK", "us-east-1"), NOW)


async def test_a_presigned_url_has_its_signature_and_not_the_secret() -> None:
    url = await Signer(origin(access_key="AK", secret_key=SecretStr("SECRET"))).presigned(URL, 60)
    assert url.startswith(f"{URL}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F")
    assert "X-Amz-Expires=60" in url
    assert "SECRET" not in url


async def test_the_variables_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ENVSECRET")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ENVTOKEN")
    headers = await Signer(origin(credentials="aws")).headers("GET", URL)
    check(headers, "ENVKEY", "ENVSECRET")
    assert headers["X-Amz-Security-Token"] == "ENVTOKEN"


async def test_a_profile(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
        "[reader]\naws_access_key_id=RK\naws_secret_access_key=RS\n"
    )
    check(await Signer(origin(credentials="aws:reader")).headers("GET", URL), "RK", "RS")
    check(await Signer(origin(credentials="aws")).headers("GET", URL), "A", "B")


@pytest.mark.parametrize(
    ("credentials", "hint"), [("aws", "neither AWS_"), ("aws:none", "ProfileNotFound")]
)
async def test_where_there_are_none_it_is_said_and_not_looked_for_at_each_request(
    credentials: str, hint: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer(origin(credentials=credentials), passing=clock)
    looked = []

    def counted(profile: str | None) -> Any:
        looked.append(profile)
        return Session(profile=profile)

    monkeypatch.setattr(signing, "Session", counted)
    for _ in range(3):
        with pytest.raises(UpstreamDenied) as caught:
            await signer.headers("GET", URL)
        assert hint in caught.value.hint
    assert len(looked) == 1
    clock.advance(PAUSE)
    with pytest.raises(UpstreamDenied):
        await signer.headers("GET", URL)
    assert len(looked) == 2


class Role:
    """Temporary credentials of `minutes`, the next ones as soon as those end."""

    def __init__(self) -> None:
        self.issued = 0
        self.threads: set[str] = set()
        self.minutes = 1
        self.gate = threading.Event()
        self.gate.set()
        self.failing = False

    def issue(self) -> dict[str, str]:
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(5)
        if self.failing:
            raise OSError("the service is away")
        self.issued += 1
        ends = datetime.now(UTC) + timedelta(minutes=self.minutes)
        return {
            "access_key": f"AK{self.issued}",
            "secret_key": "SK",
            "token": f"T{self.issued}",
            "expiry_time": ends.isoformat(),
        }


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    role = Role()
    credentials = RefreshableCredentials.create_from_metadata(role.issue(), role.issue, "test")
    role.threads.clear()

    class OneSession:
        def get_credentials(self) -> Any:
            return credentials

    monkeypatch.setattr(signing, "Session", lambda profile: OneSession())
    yield role
    role.gate.set()


async def test_ending_credentials_are_renewed_once_for_all_and_off_the_loop(role: Role) -> None:
    role.gate.clear()
    role.minutes = 60
    signer = Signer(origin(credentials="aws"))
    loop_turned = asyncio.Event()

    async def release() -> None:
        loop_turned.set()  # the loop runs while a thread waits for the service
        role.gate.set()

    *headers, _ = await asyncio.gather(*(signer.headers("GET", URL) for _ in range(20)), release())
    assert loop_turned.is_set()
    assert role.issued == 2
    assert {one["X-Amz-Security-Token"] for one in headers} == {"T2"}  # type: ignore[index]
    assert threading.current_thread().name not in role.threads
    assert (await signer.headers("GET", URL))["X-Amz-Security-Token"] == "T2"
    assert role.issued == 2


async def test_a_long_running_server_goes_on_to_the_next_credentials(
    role: Role, clock: FakeClock
) -> None:
    signer = Signer(origin(credentials="aws"), passing=clock)
    role.minutes = 11  # within the quarter hour in which they are renewed
    assert (await signer.headers("GET", URL))["X-Amz-Security-Token"] == "T2"
    clock.advance(PAUSE)
    assert (await signer.headers("GET", URL))["X-Amz-Security-Token"] == "T3"


async def test_what_cannot_be_renewed_yet_is_used_to_its_end(role: Role, clock: FakeClock) -> None:
    signer = Signer(origin(credentials="aws"), passing=clock)
    role.minutes = 11
    await signer.headers("GET", URL)
    role.failing = True
    clock.advance(PAUSE)
    assert (await signer.headers("GET", URL))["X-Amz-Security-Token"] == "T2"
