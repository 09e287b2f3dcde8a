"""What is written is so: config.yaml and README.md name every setting, metric and command."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from edgecache import config
from edgecache.cli import app
from edgecache.metrics import Metrics

ROOT = Path(__file__).parent.parent
SHIPPED = (ROOT / "config.yaml").read_text("utf-8")
# `#name:` is a setting at its default, `# text` is prose.
FULL = re.sub(r"^( *)#(?=\S)", r"\1", SHIPPED, flags=re.M)
RUNPOD = {
    "RUNPOD_S3_ENDPOINT": "https://s3api-eu-ro-1.runpod.io",
    "RUNPOD_S3_BUCKET_NAME": "volume",
    "RUNPOD_S3_ACCESS_KEY": "access",
    "RUNPOD_S3_SECRET_KEY": "secret",
}
# A section that is there many times, by its name in the docs, and where config.yaml has one.
REPEATED: dict[str, tuple[type[BaseModel], str]] = {
    "origins.<name>": (config.Origin, "origins.runpod"),
    "routes[]": (config.Route, "routes[0]"),
}


@pytest.fixture(autouse=True)
def runpod_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in RUNPOD.items():
        monkeypatch.setenv(name, value)


def settings() -> Iterator[tuple[str, str, Any]]:
    """Each setting: its name in the docs, its path in config.yaml, its default."""
    for name, field in config.Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, name, name)
    for name, (model, path) in REPEATED.items():
        yield from fields_of(model, name, path)


def fields_of(model: type[BaseModel], name: str, path: str) -> Iterator[tuple[str, str, Any]]:
    for field_name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{name}.{field_name}", f"{path}.{field_name}")
            continue
        yield f"{name}.{field_name}", f"{path}.{field_name}", field.default


def leaves(value: object, path: str = "") -> Iterator[str]:
    """The paths of what is not a section: origins.runpod.bucket, routes[0].path."""
    match value:
        case dict():
            for key, item in value.items():
                yield from leaves(item, f"{path}.{key}" if path else str(key))
        case [dict(), *_]:
            for number, item in enumerate(value):
                yield from leaves(item, f"{path}[{number}]")
        case _:
            yield path


def test_every_section_is_walked() -> None:
    """Else the tests below would be green for what they do not see."""
    walked = {re.split(r"[.\[]", name)[0] for name, _, _ in settings()}
    assert walked == set(config.Config.model_fields)


def test_config_yaml_has_every_setting_and_no_other() -> None:
    assert sorted(leaves(yaml.safe_load(FULL))) == sorted(path for _, path, _ in settings())


def test_config_yaml_says_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(FULL, "utf-8")
    loaded = config.load(path).model_dump()
    wrong = []
    for _, where, default in settings():
        value: Any = loaded
        for part in re.findall(r"[a-z_0-9]+", where):
            value = value[int(part) if part.isdigit() else part]
        if (
            default is not PydanticUndefined
            and not where.startswith("origins.")
            and value != default
        ):
            wrong.append(f"{where}: {value!r}, but the default is {default!r}")
    assert wrong == []
    origin = config.load(path).origins["runpod"]
    assert (origin.user_agent, origin.path_safe) == ("edgecache", "")


def test_config_yaml_as_shipped_changes_nothing() -> None:
    """Only the origin stands in it, as the RUNPOD_S3_* variables alone would make it."""
    assert config.load(ROOT / "config.yaml") == config.load()
    assert list(yaml.safe_load(SHIPPED)) == ["origins"]


def test_config_yaml_says_why_for_each_setting() -> None:
    lines = SHIPPED.splitlines()
    setting = re.compile(r" *#?(- )?[a-z_]+:( |$)")
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if setting.match(line) and not before.strip().startswith("# ")
    ]
    assert bare == []


# README.md


def readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")


def missing(names: Iterator[str]) -> list[str]:
    text = readme()
    return [name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", text)]


def test_readme_names_every_setting() -> None:
    assert missing(name for name, _, _ in settings()) == []


def metrics() -> Iterator[str]:
    """Each family by the name that a query uses: counters with _total."""
    for family in Metrics(config.Costs()).registry.collect():
        yield f"{family.name}_total" if family.type == "counter" else family.name


def commands() -> dict[str, str]:
    """Each command's help, by its name."""
    return {
        info.name or info.callback.__name__.replace("_", "-"): info.callback.__doc__ or ""
        for info in app.registered_commands
        if info.callback is not None
    }


def test_readme_names_every_metric() -> None:
    assert missing(metrics()) == []


def test_readme_names_every_command() -> None:
    assert missing(f"edgecache {name}" for name in commands()) == []


def test_every_command_shows_an_example() -> None:
    assert [name for name, text in commands().items() if f"edgecache {name}" not in text] == []


def test_readme_names_the_two_commands_of_the_repository() -> None:
    assert missing(iter(["scripts/demo", "scripts/test"])) == []


def test_readme_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", readme())
    assert [target for target in targets if not (ROOT / target).exists()] == []
