"""The settings file: YAML, and variables of the environment in its values.

Rule of this module: no word of the file comes back in a problem, for the file holds secrets.
"""

import os
import re
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any

import yaml

from edgecache.core.errors import ConfigError


class Loader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win, and a whole section would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem="the same key twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_file(path: Path, sections: Collection[str], problems: dict[str, str]) -> dict[str, Any]:
    """The sections that are there, variables expanded. Adds to `problems`: path -> rule.

    :raises ConfigError: there is no such file, or it is not YAML.
    """
    try:
        data = yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(yaml_problem(path, error)) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected sections like `listen:`, found {type(data).__name__}")
    problems |= {str(name): "there is no such setting" for name in data if name not in sections}
    return {
        name: expand(value, name, problems)
        for name, value in data.items()
        # An empty section (`cache:` with everything commented out) means its defaults.
        if name in sections and value is not None
    }


def yaml_problem(path: Path, error: yaml.YAMLError) -> str:
    """Where and what; str(error) would quote the line, its problem may quote a word."""
    mark = getattr(error, "problem_mark", None)
    what = re.sub(r" '[^']{2,}'", "", str(getattr(error, "problem", None) or "not text"))
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{path}{where}: not YAML: {what}"


VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}]*))?\})?")


def expand(value: object, where: str, problems: dict[str, str]) -> object:
    """`${NAME}` and `${NAME:-default}` in every string; a missing NAME is a problem."""
    match value:
        case dict():
            return {k: expand(v, f"{where}.{k}", problems) for k, v in value.items()}
        case list():
            return [expand(item, f"{where}[{n}]", problems) for n, item in enumerate(value)]
        case str():
            for name, has_default, _ in VARIABLE.findall(value):
                if not name:
                    problems[where] = "${ begins a variable: write ${NAME} or ${NAME:-default}"
                elif name not in os.environ and not has_default:
                    problems[where] = f"the environment has no {name}"
            return VARIABLE.sub(_replacement, value)
        case _:
            return value


def _replacement(match: re.Match[str]) -> str:
    name, _, default = match.groups(default="")
    if name not in os.environ and not match[2]:
        return match[0]  # a problem already: an empty value would be one more
    return os.environ.get(name) or default
