import asyncio
import os
import select
from pathlib import Path

import pytest

from edgecache.config import Costs
from edgecache.metrics import Metrics
from edgecache.web import accesslog
from edgecache.web.accesslog import LIMIT, LineWriter, write_all
from tests.waiting import until


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Costs())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def opened(path: Path | str, metrics: Metrics) -> LineWriter:
    writer = LineWriter(str(path), metrics)
    writer.open()
    return writer


def content(path: Path) -> str:
    return path.read_text()


def dropped(metrics: Metrics) -> float:
    return metrics.total("access_log_dropped_lines_total")


async def test_lines_are_written_in_order(path: Path, metrics: Metrics) -> None:
    writer = opened(path, metrics)
    for line in ("one", "two", "three"):
        writer.add(line)
    assert content(path) == ""  # not on the caller's time
    await writer.flush()
    writer.add("four")
    await writer.close()
    assert content(path) == "one\ntwo\nthree\nfour\n"
    assert dropped(metrics) == 0


async def test_it_appends(path: Path, metrics: Metrics) -> None:
    for line in ("before", "after"):
        writer = opened(path, metrics)
        writer.add(line)
        await writer.close()
    assert content(path) == "before\nafter\n"


def test_it_is_not_for_everyone_to_read(path: Path, metrics: Metrics) -> None:
    opened(path, metrics)
    assert path.stat().st_mode & 0o007 == 0


async def test_it_runs_by_itself(
    path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "FLUSH_EVERY", 0.001)
    writer = opened(path, metrics)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(writer.run())
        writer.add("one")
        await until(lambda: content(path) == "one\n")
        running.cancel()
    await writer.close()


async def test_standard_output(metrics: Metrics, capfd: pytest.CaptureFixture[str]) -> None:
    writer = opened("-", metrics)
    writer.add("a line")
    await writer.close()
    print("still open")
    assert capfd.readouterr().out == "a line\nstill open\n"


async def test_a_log_that_takes_nothing_costs_lines_only(path: Path, metrics: Metrics) -> None:
    writer = opened(path, metrics)
    line = "x" * 1023  # a few of them fill a piece
    for _ in range(LIMIT // 1024 + 5):
        writer.add(line)
    assert dropped(metrics) == 5
    await writer.flush()
    writer.add(line)  # there is room again
    await writer.close()
    assert dropped(metrics) == 5
    assert len(content(path)) == (LIMIT // 1024 + 1) * 1024


async def test_a_full_disk_costs_lines_only(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    writer = opened("/dev/full", metrics)
    for _ in range(3):
        writer.add("x" * (LIMIT // 2 - 1))
        writer.add("y")
        await writer.flush()  # the room is given back also by what was lost
    await writer.close()
    assert dropped(metrics) == 6
    assert "access log not written path=/dev/full" in caplog.text


def test_a_file_that_cannot_be_opened(tmp_path: Path, metrics: Metrics) -> None:
    with pytest.raises(OSError, match="directory"):
        opened(tmp_path, metrics)


def test_a_pipe_that_takes_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    def write(_: int, data: memoryview) -> int:
        taken.append(bytes(data[:3]))
        return len(taken[-1])

    monkeypatch.setattr(os, "write", write)
    write_all(0, [b"012345678\n"])
    assert taken == [b"012", b"345", b"678", b"\n"]


@pytest.mark.parametrize("is_file", [True, False], ids=["file", "pipe"])
async def test_a_write_has_whole_lines_and_no_more_than_is_written_at_once(
    path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    """Several processes write to one pipe, or one file."""
    written: list[bytes] = []

    def write(_: int, data: memoryview) -> int:
        written.append(bytes(data))
        return len(data)

    writer = opened(path, metrics)
    writer._is_file = is_file
    monkeypatch.setattr(os, "write", write)
    lines = [f"{number:04}" + "x" * (number % 700) for number in range(1000)]
    for line in lines:
        writer.add(line)
    await writer.flush()
    assert b"".join(written).decode().splitlines() == lines
    assert all(piece.endswith(b"\n") for piece in written)
    if is_file:
        assert len(written) == 1
    else:
        assert 0.8 * select.PIPE_BUF < max(map(len, written)) <= select.PIPE_BUF
