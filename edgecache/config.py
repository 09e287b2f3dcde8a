"""Settings: a YAML file, overridden by EDGECACHE_<SECTION>__<FIELD>, or RUNPOD_S3_* alone.

Rule of this module: a wrong config names every problem at once (path, value, rule), and each
adapter is given only its own section.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from edgecache.config_fetch import Fetch
from edgecache.config_file import read_file
from edgecache.config_listen import Admin, Listen
from edgecache.config_origin import Origin as Origin
from edgecache.config_section import Duration, Section, Size, SizeOrShare
from edgecache.core.errors import ConfigError
from edgecache.core.tags import tag_of
from edgecache.core.units import Share

YEAR = 365 * 86400.0


class Route(Section):
    path: str = Field(default="/", pattern=r"^/")
    origin: str = ""
    ttl: Duration | None = None
    browser_ttl: Duration = YEAR
    pin: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @field_validator("pin")
    @classmethod
    def _are_of_the_route(cls, prefixes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        path = str(info.data.get("path", "/"))
        for prefix in prefixes:
            if prefix.startswith("/"):
                raise ValueError(f"keys do not begin with a slash, so nothing is under {prefix!r}")
            if not f"/{prefix}".startswith(path):
                raise ValueError(f"{prefix!r} is not under the route's path: begin it {path[1:]!r}")
        return prefixes

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [tag for tag in tags if not tag_of(tag)]:
            raise ValueError(f"{wrong[0]!r:.80} is no tag: up to 256 visible ASCII characters")
        return tuple(map(tag_of, tags))


class Cache(Section):
    dir: Path = Path("cache")
    size: SizeOrShare = 10 * 2**30
    min_free: SizeOrShare = Share(0.01)
    policy: Literal["lfuda", "lru"] = "lfuda"
    admit: Literal["always", "wear"] = "always"
    max_object: Annotated[Size, Field(gt=0)] | None = None
    slice_size: Size = Field(default=2**20, ge=64 * 2**10, le=16 * 2**20, validate_default=True)
    hot_size: Size = 32 * 2**20
    hot_object: Size = Field(default=64 * 2**10, le=2**20)

    @field_validator("size")
    @classmethod
    def _is_something(cls, size: int | Share) -> int | Share:
        if not size:
            raise ValueError("nothing would ever be stored")
        return size

    @field_validator("slice_size")
    @classmethod
    def _fits(cls, slice_size: int, info: ValidationInfo) -> int:
        size = info.data.get("size", slice_size)
        if not isinstance(size, Share) and slice_size > size:
            raise ValueError("more than cache.size: nothing would ever be stored")
        return slice_size


class Freshness(Section):
    ttl: Duration = 3600.0
    negative_ttl: Duration = 10.0
    stale_while_revalidate: Duration = 30.0
    stale_if_error: Duration = 86400.0


class Access(Section):
    public: tuple[str, ...] = ("outputs/",)

    @field_validator("public")
    @classmethod
    def _are_key_prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [prefix for prefix in prefixes if prefix.startswith("/")]:
            raise ValueError(f"keys do not begin with a slash, so nothing is under {wrong[0]!r}")
        return prefixes


class Cors(Section):
    allow_origins: tuple[str, ...] = ("*",)
    max_age: Duration = 86400.0

    @field_validator("allow_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s,*]+", origin):
                raise ValueError(f"{origin!r} is not like https://app.example.com (or only '*')")
        return origins


class Costs(Section):
    """Dollars per 10^9 bytes."""

    app_platform: float = Field(default=0.21, ge=0)
    host: float = Field(default=0.0, ge=0)
    origin: float = Field(default=0.0, ge=0)


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["json", "combined", "off"] = "json"
    access_file: str = "-"

    @field_validator("access", mode="before")
    @classmethod
    def _means_off(cls, access: object) -> object:
        return "off" if access is False else access  # YAML 1.1 reads `off` so


class Environment(EnvSettingsSource):
    """EDGECACHE_*: what should be JSON and is not goes on as text, and fails at its own path."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


OriginName = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$")]  # as in EDGECACHE_*


class Config(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="EDGECACHE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    listen: Listen = Listen()
    admin: Admin = Admin()
    origins: dict[OriginName, Origin] = Field(min_length=1)
    routes: tuple[Route, ...] = Field(default=(Route(),), validate_default=True)
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
        return Environment(settings_cls), init_settings

    @field_validator("routes")
    @classmethod
    def _reach_origins(cls, routes: tuple[Route, ...], info: ValidationInfo) -> tuple[Route, ...]:
        """On the field, not the model: told also when another section is wrong."""
        if not routes:
            raise ValueError("without any, nothing is served")
        paths = [route.path for route in routes]
        problems = [
            f"{path} is there twice" for path in sorted(set(paths)) if paths.count(path) > 1
        ]
        if names := list(info.data.get("origins", ())):
            for route in routes:
                if route.origin and route.origin not in names:
                    problems.append(f"{route.path}: no origin is named {route.origin!r}")
                if not route.origin and len(names) > 1:
                    problems.append(f"{route.path}: say which origin: {', '.join(names)}")
        if problems:
            raise ValueError("; ".join(problems))
        return routes


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
    problems = unknown_variables()  # path -> rule: one problem a setting, the first found
    data = read_file(file, Config.model_fields, problems) if file else {}
    if "origins" not in data and not any(n.startswith("EDGECACHE_ORIGINS") for n in os.environ):
        data |= runpod_origin(problems)
    try:
        config = Config(**data)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            where = setting(problem["loc"])
            if not (where == "origins" and problem["type"] == "missing" and problems):
                problems.setdefault(where, describe(where, problem))
    else:
        if not problems:
            return config
    raise ConfigError(
        "\n".join(f"{where}: {rule}" for where, rule in problems.items()),
        hint=f"settings come from {file or 'no file'} and EDGECACHE_* variables",
    )


def find_file(path: Path | None) -> Path | None:
    if path is None and (named := os.environ.get("EDGECACHE_CONFIG")):
        path = Path(named)
    if path is not None:
        return path
    return Path("config.yaml") if Path("config.yaml").is_file() else None


def runpod_origin(problems: dict[str, str]) -> dict[str, Any]:
    """The one origin that RUNPOD_S3_* describe, if any of them is set."""
    found = {field: os.environ.get(name, "") for field, name in RUNPOD_VARIABLES.items()}
    if not any(found.values()):
        return {}
    missing = [RUNPOD_VARIABLES[f] for f, value in found.items() if not value and f != "region"]
    problems |= dict.fromkeys(missing, "not set, and there is no other origin")
    return {} if missing else {"origins": {"runpod": found}}


def unknown_variables() -> dict[str, str]:
    sections = {name.upper() for name in Config.model_fields}
    return {
        name: "there is no such setting"
        for name in sorted(os.environ)
        if name.startswith("EDGECACHE_")
        and name != "EDGECACHE_CONFIG"
        and name.removeprefix("EDGECACHE_").split("__")[0] not in sections
    }


def setting(loc: tuple[str | int, ...]) -> str:
    """pydantic's path as config.yaml has it: `routes[0].path`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc]
    return "".join(part for part in parts if part != ".[key]").removeprefix(".") or "config"


RULES = {
    "extra_forbidden": "there is no such setting",
    "missing": "required",
    "dict_type": "expected settings of its own below it",
    "model_type": "expected settings of its own below it",
    "tuple_type": 'not a list: write it like ["a", "b"]',
}
SECRET = re.compile("key|token|secret|pass|credential", re.I)


def describe(where: str, problem: Mapping[str, Any]) -> str:
    """`value: rule`, without the value where it is, or may hold, a secret."""
    if problem["type"] == "missing" and where == "origins":
        return (
            "no origin is configured; write it in config.yaml, or set RUNPOD_S3_ENDPOINT, "
            "RUNPOD_S3_BUCKET_NAME, RUNPOD_S3_ACCESS_KEY and RUNPOD_S3_SECRET_KEY"
        )
    value = problem["input"]
    rule = RULES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    shown = isinstance(value, str | int | float) and not SECRET.search(where)
    if not shown or problem["type"] in RULES or re.search("[@?]", str(value)):
        return str(rule)
    return f"{value!r:.80}: {rule}"
