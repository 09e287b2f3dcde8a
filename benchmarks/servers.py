"""Starts and ends what is measured: the origin, nginx and edgecache, one process tree each."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
START_LIMIT = 15.0
END_LIMIT = 10.0
SHOWN = 30  # lines of what a server complained about
TICKS = os.sysconf("SC_CLK_TCK")
# Without sendfile and with large buffers nginx is faster at large hits on loopback.
SENDFILE = {True: "sendfile on;", False: "sendfile off; output_buffers 2 512k;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers on `port` of 127.0.0.1."""

    name: str
    port: int
    pid: int

    def processes(self) -> list[int]:
        """The process and its children: nginx's worker does the work, its master holds the name."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        return [self.pid, *map(int, children.split())]

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        seconds = 0.0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / TICKS
        return seconds

    def memory(self, what: str = "Rss") -> int:
        """Resident bytes; `Pss` counts what is shared by its share."""
        total = 0
        for pid in self.processes():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
            found = re.search(rf"^{what}:\s+(\d+) kB", rollup, re.M)
            total += int(found[1]) * 1024 if found else 0
        return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def origin(*, latency: float = 0.0) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.origin"]
    command += [f"--port={port}", f"--latency={latency}"]
    with running("origin", command, port) as server:
        yield server


@contextmanager
def nginx(directory: Path, origin_port: int, *, sendfile: bool = True) -> Iterator[Running]:
    """With an empty cache."""
    folder = fresh(directory / "nginx")
    port = free_port()
    values = {
        "PORT": str(port),
        "ORIGIN_PORT": str(origin_port),
        "USER": pwd.getpwuid(os.getuid()).pw_name,
        "SENDFILE": SENDFILE[sendfile],
    }
    text = (HERE / "nginx.conf").read_text("utf-8")
    text = re.sub("@([A-Z_]+)@", lambda name: values[name[1]], text)
    (folder / "nginx.conf").write_text(text, "utf-8")
    prefix = ["-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    with running("nginx", ["nginx", *prefix, "-g", "daemon off;"], port) as server:
        yield server


EDGECACHE = [sys.executable, "-m", "edgecache", "serve", "--config", str(HERE / "edgecache.yaml")]


@contextmanager
def edgecache(directory: Path, origin_port: int) -> Iterator[Running]:
    """With an empty cache."""
    folder = fresh(directory / "edgecache")
    port = free_port()
    with running("edgecache", EDGECACHE, port, settings(folder, port, origin_port)) as server:
        yield server


def settings(folder: Path, port: int, origin_port: int) -> dict[str, str]:
    """What edgecache.yaml leaves open; the cache is in `folder / "cache"`."""
    return {
        "BENCH_PORT": str(port),
        "BENCH_ADMIN_PORT": str(free_port()),
        "BENCH_ORIGIN_PORT": str(origin_port),
        "BENCH_DIR": str(folder),
    }


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def running(
    name: str, command: list[str], port: int, settings: dict[str, str] | None = None
) -> Iterator[Running]:
    """The started server, once it takes connections."""
    with started(name, command, settings) as process:
        wait_until_open(name, process, port)
        yield Running(name=name, port=port, pid=process.pid)


@contextmanager
def started(
    name: str, command: list[str], settings: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, ended with SIGTERM.

    What it says is shown if it says more than that it runs: warnings and errors.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("EDGECACHE_")}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            command, cwd=HERE.parent, env=inherited | (settings or {}), stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            if process.poll() is not None:
                sys.stderr.write(f"{name} was ended by another: status {process.returncode}\n")
            end(process)
            said.seek(0)
            lines = [line for line in said if " INFO " not in line]
            sys.stderr.writelines(lines[:SHOWN])


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_open(name: str, process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} ended at its start with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"{name} did not listen within {START_LIMIT:g} s")
