"""Real programs, run and waited for. Rule of this module: every wait has an end, and what the
program wrote until then is in the failure's message."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Thread
from typing import IO, TypeVar

from tests.conftest import require

T = TypeVar("T")

PATIENCE = 30.0  # for what takes a fraction of a second on an idle machine
FOREIGN = re.compile(r"(EDGECACHE|RUNPOD|AWS)_.*|(https?|all|no)_proxy", re.IGNORECASE)


def environment(**more: str) -> dict[str, str]:
    """This one, without what would configure edgecache, S3 clients or a proxy."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def run(
    program: str, *arguments: str | Path, check: bool = True, input: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs an installed program to its end."""
    done = subprocess.run(
        [require(program), *map(str, arguments)],
        env=environment(),
        input=input,
        capture_output=True,
        timeout=PATIENCE,
    )
    if check and done.returncode:
        raise AssertionError(f"{program}: exit {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done


def eventually(read: Callable[[], T | None], what: str, within: float = PATIENCE) -> T:
    """The first true value of `read`, for programs that have no event to wait for."""
    end = time.monotonic() + within
    while not (value := read()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.02)
    return value


class Lines:
    """What a process writes to one of its streams, line by line, as it comes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._ended = False
        self._moved = Condition()
        self._thread = Thread(target=self._read, name="lines", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._moved:
                self._lines.append(line.rstrip("\n"))
                self._moved.notify_all()
        with self._moved:
            self._ended = True
            self._moved.notify_all()

    def __iter__(self) -> Iterator[str]:
        with self._moved:
            return iter(list(self._lines))

    def __str__(self) -> str:
        return "\n".join(self)

    def find(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self if (found := re.search(pattern, line))), None)

    def wait(self, pattern: str, within: float = PATIENCE) -> re.Match[str]:
        """The first line, past or to come, that has `pattern` in it."""
        with self._moved:
            self._moved.wait_for(lambda: self._ended or self.find(pattern), within)
        found = self.find(pattern)
        if found is None:
            raise AssertionError(f"no line with {pattern!r} but:\n{self}")
        return found

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._stream.close()


class Program:
    """A running process: its output by line, and its end."""

    def __init__(
        self, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, which `kill` ends with its children
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout = Lines(self.process.stdout)
        self.stderr = Lines(self.process.stderr)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, within: float = PATIENCE) -> int:
        """Waits for the end, and gives the exit code."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within:g} s:\n{self.stderr}") from None
        self.stdout.close()
        self.stderr.close()
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """Ends it and its children, unless it has ended."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.ended()


@contextmanager
def running(
    *command: str | Path, env: Mapping[str, str], cwd: Path | None = None
) -> Iterator[Program]:
    program = Program(command, env=env, cwd=cwd)
    try:
        yield program
    finally:
        program.kill()
