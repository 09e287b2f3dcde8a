"""The sections `listen` and `admin`: who may reach what, and for how long."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from edgecache.config_section import Duration, Port, Section, Timeout


class Tls(Section):
    cert: Path | None = None
    key: Path | None = None

    @field_validator("key")
    @classmethod
    def _whole(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key is not None and info.data.get("cert", key) is None:
            raise ValueError("a key without listen.tls.cert")
        return key


class Listen(Section):
    host: str = "0.0.0.0"  # noqa: S104  # a CDN origin is there to be reached
    port: Port = 8080
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    keeper_timeout: Timeout = 5.0
    tls: Tls = Tls()
    trusted_proxies: tuple[str, ...] = ()
    header_timeout: Timeout = 10.0
    keepalive_timeout: Timeout = 75.0
    write_timeout: Timeout = 60.0
    drain_timeout: Duration = 30.0
    max_connections: int = Field(default=10_000, ge=1)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"not an address or network: {error}") from None
        return networks


class Admin(Section):
    host: str = "127.0.0.1"
    port: Port = 9180
    token: SecretStr = Field(default=SecretStr(""), validate_default=True)

    @field_validator("token")
    @classmethod
    def _guards(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        if not re.fullmatch(r"[!-~]*", token.get_secret_value()):
            raise ValueError("only visible ASCII characters fit into a header")
        if not token.get_secret_value() and not is_loopback(info.data.get("host", "localhost")):
            raise ValueError("empty, which only a loopback admin.host may have")
        return token


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
