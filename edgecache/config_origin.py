"""The section `origins.<name>`: a bucket, and how its store wants to be spoken to."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from edgecache.config_quirks import Quirks, read_quirks
from edgecache.config_section import Section
from edgecache.core.errors import ConfigError

# Where a store's host holds its region: RunPod signs s3api-eu-ro-1.runpod.io as EU-RO-1; AWS,
# Backblaze and Wasabi have s3.eu-west-1.example.com or s3-eu-west-1. Cloudflare's R2 has one.
RUNPOD_HOST = re.compile(r"s3api-([a-z0-9-]+)\.", re.I)
R2_HOST = re.compile(r"[^/]+\.r2\.cloudflarestorage\.com(?=[:/]|$)", re.I)
S3_HOST = re.compile(r"s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-[0-9]+)\.", re.I)

# What a store measured by the doctor may want, and the setting that says the same.
BY_QUIRKS = ("path_safe", "connections")


def region_of(endpoint: str) -> str:
    host = endpoint.partition("://")[2]
    if match := RUNPOD_HOST.match(host):
        return match[1].upper()
    if R2_HOST.match(host):
        return "auto"
    match = S3_HOST.match(host)
    return match[1].lower() if match else "us-east-1"


class Origin(Section):
    endpoint: str
    region: str = ""
    bucket: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    addressing: Literal["path", "virtual"] = Field(default="path", validate_default=True)
    access_key: str = ""
    secret_key: SecretStr = Field(default=SecretStr(""), validate_default=True)
    session_token: SecretStr = SecretStr("")
    credentials: str = "keys"
    connections: Annotated[int, Field(ge=1)] | None = None
    user_agent: str = Field(default="edgecache", pattern=r"^[ -~]+$")
    path_safe: str = Field(default="", pattern=r"^[!$&'()*+,:;=@]*$")
    quirks: Quirks | None = None  # written as the path of a file

    @property
    def signs(self) -> bool:
        return bool(self.access_key) or self.credentials != "keys"

    @property
    def profile(self) -> str:
        """The AWS profile's name; "": the one that the environment says."""
        return self.credentials.partition(":")[2]

    @field_validator("endpoint")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        url = urlsplit(value)
        if "@" in url.netloc:
            raise ValueError("credentials belong into access_key and secret_key")
        if (
            url.scheme not in ("http", "https")
            or not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", url.netloc)
            or not re.fullmatch(r"[A-Za-z0-9._~/-]*", url.path)
            or url.query
            or url.fragment
        ):
            raise ValueError("not an endpoint: write it like https://s3api-eu-ro-1.runpod.io")
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """The region from the endpoint's host; what the doctor measured, where nothing is said."""
        if not isinstance(data, dict):
            return data
        endpoint = str(data.get("endpoint", "")).rstrip("/")
        found: dict[str, Any] = {} if data.get("region") else {"region": region_of(endpoint)}
        if isinstance(path := data.get("quirks"), str | Path) and path:
            try:
                measured = read_quirks(Path(path), endpoint)
            except ConfigError:  # told of where the field is validated
                return data | found
            found |= {
                name: value
                for name in BY_QUIRKS
                if data.get(name) is None and (value := getattr(measured, name)) is not None
            }
            found["quirks"] = measured
        return data | found

    @field_validator("addressing")
    @classmethod
    def _has_such_a_host(cls, addressing: str, info: ValidationInfo) -> str:
        if addressing == "path" or not {"endpoint", "bucket"} <= info.data.keys():
            return addressing
        url, bucket = urlsplit(info.data["endpoint"]), info.data["bucket"]
        if is_address(url.hostname or ""):
            raise ValueError("the endpoint is an IP address, which no bucket's name fits before")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", bucket):
            raise ValueError(f"{bucket} is no host's name: use addressing: path")
        if url.scheme == "https" and "." in bucket:
            raise ValueError(
                "no certificate covers a bucket with a dot in its name: use addressing: path"
            )
        if (url.hostname or "").startswith(f"{bucket}."):
            raise ValueError(f"leave {bucket}. out of the endpoint: it is put before it")
        return addressing

    @field_validator("secret_key")
    @classmethod
    def _whole_credentials(cls, secret_key: SecretStr, info: ValidationInfo) -> SecretStr:
        given = bool(secret_key.get_secret_value())
        if given != bool(info.data.get("access_key", given)):
            raise ValueError("access_key and secret_key belong together: one of them is empty")
        return secret_key

    @field_validator("session_token")
    @classmethod
    def _token_of_keys(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        if token.get_secret_value() and not info.data.get("access_key", "?"):
            raise ValueError("it belongs to access_key and secret_key, which are empty")
        return token

    @field_validator("credentials")
    @classmethod
    def _is_one_way(cls, credentials: str, info: ValidationInfo) -> str:
        if not re.fullmatch(r"keys|aws(:[A-Za-z0-9][A-Za-z0-9 ._@/+-]*)?", credentials):
            raise ValueError("expected keys, aws, or aws:PROFILE")
        if credentials != "keys" and info.data.get("access_key"):
            raise ValueError("aws finds the keys elsewhere: leave access_key and secret_key empty")
        return credentials

    @field_validator("quirks", mode="before")
    @classmethod
    def _is_a_profile(cls, value: Any, info: ValidationInfo) -> Quirks | None:
        if not value or isinstance(value, Quirks):
            return value or None
        if not isinstance(value, str | Path):
            raise ValueError("expected the path of a file that edgecache doctor wrote")
        try:
            return read_quirks(Path(value), info.data.get("endpoint", ""))
        except ConfigError as error:
            raise ValueError(error.message) from None


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
