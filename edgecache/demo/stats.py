"""What /api/stats says. Rule of this module: the server's own figures, none made up here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    requests: int
    client_bytes: int
    origin_bytes: int
    saved_bytes: int
    avoided: float  # dollars
    hit_ratio: float | None
    slices: int

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> "Stats":
        return cls(
            requests=sum(answer["requests"].values()),
            client_bytes=answer["bytes"]["client"],
            origin_bytes=answer["bytes"]["origin"],
            saved_bytes=answer["bytes"]["saved"],
            avoided=answer["dollars"]["avoided"],
            hit_ratio=answer["hit_ratio"],
            slices=answer["cache"]["slices"],
        )
