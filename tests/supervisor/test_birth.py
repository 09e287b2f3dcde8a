"""The first and last things of a child. What only a child can show is in test_family."""

import ctypes
import io
import logging
import sys

import pytest

from edgecache.supervisor import birth


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [(None, 0, ""), (0, 0, ""), (3, 3, ""), ("no disk", 1, "no disk\n")],
)
def test_sys_exit_in_a_role_means_what_it_means_elsewhere(
    code: int | str | None, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert birth.status_of(SystemExit(code)) == status
    assert capsys.readouterr().err == said


def test_what_cannot_be_flushed_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, flushed = io.StringIO(), io.StringIO()
    closed.close()
    kept: list[str] = []
    monkeypatch.setattr(flushed, "flush", lambda: kept.append("flushed"))
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", flushed)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(closed)])
    birth.flush_output()
    assert kept == ["flushed"]


def test_a_c_library_without_prctl_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    birth.set_name("worker")


def test_names_are_cut_to_what_the_kernel_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(birth, "prctl", lambda option, value: told.append(value))
    birth.set_name("a-worker-with-a-long-name")
    assert told == [b"a-worker-with-a"]
