"""What a check found. Rule of this module: a problem comes with what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    NOTE = "note"  # unlike S3, or unlike what an app may count on; edgecache copes with it
    PROBLEM = "problem"
    SKIPPED = "skipped"


Fact = str | int | float | bool | None | list[str] | dict[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    state: State
    text: str
    hint: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


def ok(text: str, **facts: Fact) -> Finding:
    return Finding(State.OK, text, "", facts)


def note(text: str, hint: str, **facts: Fact) -> Finding:
    return Finding(State.NOTE, text, hint, facts)


def problem(text: str, hint: str, **facts: Fact) -> Finding:
    return Finding(State.PROBLEM, text, hint, facts)


def skipped(text: str) -> Finding:
    return Finding(State.SKIPPED, text)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"
