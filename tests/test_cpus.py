"""A container's share counts, not the machine's processors."""

import os
from pathlib import Path

import pytest

from edgecache.cpus import quota, usable_cpus

NONE = float("inf")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "max 100000\n"}, NONE),
        ({"cpu.max": "odd\n"}, NONE),
        ({"cpu.max": "1 0\n"}, NONE),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, NONE),
        ({}, NONE),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert quota(tmp_path) == expected


@pytest.mark.parametrize(
    ("limit", "cpus", "expected"),
    [
        ("max 100000", 3, 3),
        ("150000 100000", 8, 2),
        ("10000 100000", 8, 1),
        ("900000 100000", 2, 2),
    ],
)
def test_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cpus: int, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cpus(tmp_path) == expected
