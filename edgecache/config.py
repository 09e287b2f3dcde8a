"""Settings: a YAML file, overridden by EDGECACHE_<SECTION>__<FIELD>, or RUNPOD_S3_* alone.

Rule of this module: a wrong config names every problem at once (path, value, rule), and each
adapter is given only its own section.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edgecache.core.errors import ConfigError

SIZE_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE_UNITS |= {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
YEAR = 365 * 86400.0
DURATION_UNITS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "y": 31536e3,
}


def parse_size(value: object) -> object:
    """`50GiB`, `512 MB` or a number of bytes -> bytes."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)", value.strip())
    if match is None or match[2].upper() not in SIZE_UNITS:
        raise ValueError("not a size: write it like 50GiB, 512MiB or 100000")
    return int(float(match[1]) * SIZE_UNITS[match[2].upper()])


def parse_duration(value: object) -> object:
    """`1h`, `500ms`, `365d` or a number of seconds -> seconds."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([a-z]*)", value.strip())
    if match is None or match[2] not in DURATION_UNITS:
        raise ValueError("not a time: write it like 90s, 10m, 1h, 7d or 500ms")
    return float(match[1]) * DURATION_UNITS[match[2]]


Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]
Timeout = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(Section):
    host: str = "0.0.0.0"  # noqa: S104  # a CDN origin is there to be reached
    port: Port = 8080
    header_timeout: Timeout = 10.0
    keepalive_timeout: Timeout = 75.0
    write_timeout: Timeout = 60.0
    drain_timeout: Duration = 30.0
    max_connections: int = Field(default=10_000, ge=1)


LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Admin(Section):
    host: str = "127.0.0.1"
    port: Port = 9180
    token: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.host not in LOOPBACK and not self.token.get_secret_value():
            raise ValueError("a host other than loopback needs admin.token")
        return self


class Origin(Section):
    endpoint: str
    region: str = ""
    bucket: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    user_agent: str = Field(default="edgecache", pattern=r"^[ -~]+$")
    path_safe: str = Field(default="", pattern=r"^[!$&'()*+,:;=@]*$")

    @field_validator("endpoint")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("not an endpoint: write it like https://s3api-eu-ro-1.runpod.io")
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _default_region(cls, data: Any) -> Any:
        """RunPod's region is in its host: s3api-eu-ro-1.runpod.io signs as EU-RO-1."""
        if isinstance(data, dict) and not data.get("region"):
            match = re.match(r"https?://s3api-([a-z0-9-]+)\.", str(data.get("endpoint", "")), re.I)
            return data | {"region": match[1].upper() if match else "us-east-1"}
        return data

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key.get_secret_value()):
            raise ValueError("access_key and secret_key belong together: one of them is empty")
        return self


class Route(Section):
    path: str = Field(default="/", pattern=r"^/")
    origin: str = ""
    ttl: Duration | None = None
    browser_ttl: Duration = YEAR


class Cache(Section):
    dir: Path = Path("cache")
    size: Size = Field(default=10 * 2**30, gt=0)
    slice_size: Size = Field(default=2**20, ge=64 * 2**10, le=16 * 2**20)


class Freshness(Section):
    ttl: Duration = 3600.0
    negative_ttl: Duration = 10.0


class Access(Section):
    public: tuple[str, ...] = ("outputs/",)


class Cors(Section):
    allow_origins: tuple[str, ...] = ("*",)
    max_age: Duration = 86400.0


class Fetch(Section):
    connect_timeout: Timeout = 5.0
    first_byte_timeout: Timeout = 110.0
    stall_timeout: Timeout = 30.0
    connections: int = Field(default=64, ge=1)
    first_run: Size = Field(default=4 * 2**20, gt=0)
    max_run: Size = Field(default=16 * 2**20, gt=0)


class Costs(Section):
    """Dollars per 10^9 bytes."""

    app_platform: float = Field(default=0.21, ge=0)
    host: float = Field(default=0.0, ge=0)
    origin: float = Field(default=0.0, ge=0)


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["json", "combined", "off"] = "json"
    access_file: str = "-"


class Config(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="EDGECACHE_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    listen: Listen = Listen()
    admin: Admin = Admin()
    origins: dict[str, Origin] = Field(min_length=1)
    routes: tuple[Route, ...] = (Route(),)
    cache: Cache = Cache()
    freshness: Freshness = Freshness()
    access: Access = Access()
    cors: Cors = Cors()
    fetch: Fetch = Fetch()
    costs: Costs = Costs()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @field_validator("routes")
    @classmethod
    def _distinct_paths(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        paths = [route.path for route in routes]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(f"the same path twice: {', '.join(twice)}")
        return routes

    @model_validator(mode="after")
    def _routes_reach_origins(self) -> Self:
        problems = [
            f"route {route.path}: no origin is named {route.origin!r}, only {sorted(self.origins)}"
            for route in self.routes
            if route.origin and route.origin not in self.origins
        ]
        problems += [
            f"route {route.path}: several origins, so say which: origin: {' | '.join(self.origins)}"
            for route in self.routes
            if not route.origin and len(self.origins) > 1
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


RUNPOD_VARIABLES = {
    "endpoint": "RUNPOD_S3_ENDPOINT",
    "region": "RUNPOD_S3_REGION",
    "bucket": "RUNPOD_S3_BUCKET_NAME",
    "access_key": "RUNPOD_S3_ACCESS_KEY",
    "secret_key": "RUNPOD_S3_SECRET_KEY",
}


def load(path: Path | None = None) -> Config:
    """The config from `path`, $EDGECACHE_CONFIG or ./config.yaml, and the environment.

    :raises ConfigError: naming every problem, one a line.
    """
    file = find_file(path)
    data = read_file(file) if file else {}
    problems = unknown_variables()
    if "origins" not in data and not any(
        name.startswith("EDGECACHE_ORIGINS__") for name in os.environ
    ):
        data |= runpod_origin()
    try:
        config = Config(**data)
    except ValidationError as error:
        problems += [describe(problem, file) for problem in error.errors()]
    else:
        if not problems:
            return config
    raise ConfigError("\n".join(problems), hint="config.yaml explains every setting")


def find_file(path: Path | None) -> Path | None:
    if path is None and (named := os.environ.get("EDGECACHE_CONFIG")):
        path = Path(named)
    if path is not None:
        return path
    return Path("config.yaml") if Path("config.yaml").is_file() else None


def read_file(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if data is not None and not isinstance(data, dict):
        raise ConfigError(f"{path}: expected sections like `listen:`, found {type(data).__name__}")
    problems: list[str] = []
    expanded = {name: expand(value, str(name), problems) for name, value in (data or {}).items()}
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    # An empty section (`cache:` with everything commented out) means its defaults.
    return {name: value for name, value in expanded.items() if value is not None}


VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expand(value: object, where: str, problems: list[str]) -> object:
    """`${NAME}` and `${NAME:-default}` in every string; a missing NAME is a problem."""
    match value:
        case dict():
            return {k: expand(v, f"{where}.{k}", problems) for k, v in value.items()}
        case list():
            return [expand(item, f"{where}[{n}]", problems) for n, item in enumerate(value)]
        case str():
            for name, default in VARIABLE.findall(value):
                if name not in os.environ and not default:
                    problems.append(f"{where}: the environment has no {name}")
            return VARIABLE.sub(lambda m: os.environ.get(m[1]) or m[2] or "", value)
        case _:
            return value


def runpod_origin() -> dict[str, Any]:
    """The one origin that RUNPOD_S3_* describe, if any of them is set."""
    found = {field: os.environ.get(name, "") for field, name in RUNPOD_VARIABLES.items()}
    if not any(found.values()):
        return {}
    missing = [RUNPOD_VARIABLES[f] for f, value in found.items() if not value and f != "region"]
    if missing:
        raise ConfigError("\n".join(f"{name}: not set" for name in missing))
    return {"origins": {"runpod": found}}


def unknown_variables() -> list[str]:
    sections = {name.upper() for name in Config.model_fields}
    return [
        f"{name}: there is no such setting"
        for name in sorted(os.environ)
        if name.startswith("EDGECACHE_")
        and name != "EDGECACHE_CONFIG"
        and name.removeprefix("EDGECACHE_").split("__")[0] not in sections
    ]


def describe(problem: Any, file: Path | None) -> str:
    """One problem as `path: value: rule`. Secrets are never shown."""
    where = ".".join(str(part) for part in problem["loc"]) or str(file or "config")
    if problem["type"] == "missing" and where == "origins":
        return (
            "origins: no origin is configured; write it in config.yaml, or set RUNPOD_S3_ENDPOINT, "
            "RUNPOD_S3_BUCKET_NAME, RUNPOD_S3_ACCESS_KEY and RUNPOD_S3_SECRET_KEY"
        )
    rule = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    if isinstance(value, str | int | float) and not re.search("key|token", where):
        return f"{where}: {value!r}: {rule}"
    return f"{where}: {rule}"
