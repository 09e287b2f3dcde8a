"""The quirks of a store, as `edgecache doctor --write-profile` measured them.

Rule of this module: a file is taken as a whole or refused; only what serving can use is in it.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from edgecache.config_section import Section
from edgecache.core.errors import ConfigError

LARGEST_FILE = 64 * 1024


class Quirks(Section):
    """None, or True of what a store should do: it differs in nothing that is known."""

    path_safe: Annotated[str, Field(pattern=r"^[!$&'()*+,:;=@]*$")] | None = None
    connections: Annotated[int, Field(ge=1)] | None = None
    # Whether a request with such a field gets the answer that it would get without.
    if_match: bool = True
    if_none_match: bool = True
    suffix_range: bool = True


class Profile(Section):
    """The file: what was measured, of which store, when."""

    edgecache_quirks: Literal[1]
    endpoint: str
    bucket: str
    measured: datetime
    quirks: Quirks


def read_quirks(path: Path, endpoint: str) -> Quirks:
    """:raises ConfigError: no such file, not a profile, or one of another store."""
    try:
        with path.open("rb") as file:
            data: Any = json.loads(file.read(LARGEST_FILE))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path}: not JSON: edgecache doctor --write-profile makes it") from None
    if not isinstance(data, dict) or "edgecache_quirks" not in data:
        raise ConfigError(f"{path}: not a profile: edgecache doctor --write-profile makes it")
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']}") from None
    if endpoint and profile.endpoint != endpoint:
        raise ConfigError(f"{path}: measured of {profile.endpoint}: run edgecache doctor of this")
    return profile.quirks


def write_profile(path: Path, profile: Profile) -> None:
    """:raises ConfigError: it cannot be written."""
    try:
        path.write_text(json.dumps(profile.model_dump(mode="json"), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
