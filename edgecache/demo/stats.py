"""What a visit came to. Rule of this module: byte counts and dollars are the server's own
(/api/stats), none is made up here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    requests: int
    client_bytes: int
    origin_bytes: int
    saved_bytes: int
    dollars_avoided: float
    hit_ratio: float | None

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> "Stats":
        return cls(
            requests=sum(answer["requests"].values()),
            client_bytes=answer["bytes"]["client"],
            origin_bytes=answer["bytes"]["origin"],
            saved_bytes=answer["bytes"]["saved"],
            dollars_avoided=answer["dollars"]["avoided"],
            hit_ratio=answer["hit_ratio"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """`cold`, `warm`: seconds to the first byte of each answer, by what its Cache-Status said."""

    title: str
    requests: int
    client_bytes: int
    origin_bytes: int
    cold: tuple[float, ...]
    warm: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    results: tuple[StepResult, ...]
    totals: Stats
