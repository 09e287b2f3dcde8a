"""Starts and ends what is measured: origin, nginx, edgecache, Varnish; a process tree each."""

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
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
EDGECACHE = [sys.executable, "-m", "edgecache", "serve", "--config", str(HERE / "edgecache.yaml")]
START_LIMIT = 15.0
START_ANSWERS = 8  # so that, most likely, each worker has given one
END_LIMIT = 10.0
SHOWN = 30  # lines of what a server complained about
USUAL = re.compile(r" INFO |^(Debug|Info): |^Child launched OK|^Error: Manager got SIGTERM")
CACHE_SIZE = 20 * 2**30  # of the caches of nginx and edgecache
VARNISH_SIZE = 5 * 2**30
TICKS = os.sysconf("SC_CLK_TCK")
# Without sendfile and with large buffers nginx is faster at large hits on loopback.
SENDFILE = {True: "sendfile on;", False: "sendfile off; output_buffers 2 512k;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers on `port` of 127.0.0.1."""

    name: str
    port: int
    pid: int
    helper: int = 0  # a process beside the tree that belongs to it: Varnish's log writer

    def processes(self) -> list[int]:
        """The process, all that it forked, and theirs: who works is a child everywhere."""
        found = [self.pid, self.helper] if self.helper else [self.pid]
        for pid in found:  # grows as it goes
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
            found += map(int, children.split())
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        seconds = 0.0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / TICKS
        return seconds

    def memory(self, what: str = "Rss") -> int:
        """Resident bytes; `Pss` counts what is shared by its share."""
        return sum(memory(pid, what) for pid in self.processes())


def memory(pid: int, what: str) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB", rollup, re.M)
    return int(found[1]) * 1024 if found else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def origin(
    *, latency: float = 0.0, rate: float = 0.0, break_share: float = 0.0
) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bucket"]
    command += [f"--port={port}", f"--latency={latency}"]
    command += [f"--rate={rate}", f"--break-share={break_share}"]
    with running("origin", command, port) as server:
        yield server


@contextmanager
def nginx(
    directory: Path,
    origin_port: int,
    *,
    workers: int = 1,
    sendfile: bool = True,
    threads: bool = False,
    size: int = CACHE_SIZE,
    name: str = "nginx",
) -> Iterator[Running]:
    """With an empty cache of `size` bytes; `threads` read what is not in memory."""
    folder = fresh(directory / name)
    port = free_port()
    values = {
        "PORT": str(port),
        "ORIGIN_PORT": str(origin_port),
        "USER": pwd.getpwuid(os.getuid()).pw_name,
        "WORKERS": str(workers),
        "SENDFILE": SENDFILE[sendfile],
        "AIO": "aio threads;" if threads else "",
        "SIZE": str(size),
    }
    fill_in("nginx.conf", values, folder)
    prefix = ["-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    with running(name, ["nginx", *prefix, "-g", "daemon off;"], port) as server:
        yield server


def fill_in(name: str, values: dict[str, str], folder: Path) -> None:
    """Writes our file of that name, with what stands between at-signs filled in, to the folder."""
    text = (HERE / name).read_text("utf-8")
    (folder / name).write_text(re.sub("@([A-Z_]+)@", lambda at: values[at[1]], text), "utf-8")


@contextmanager
def varnish(
    directory: Path, origin_port: int, *, workers: int = 1, size: int = VARNISH_SIZE
) -> Iterator[Running]:
    """With an empty cache; one process works, with as many thread pools as others have workers."""
    folder = fresh(directory / "varnish")
    port = free_port()
    fill_in("varnish.vcl", {"ORIGIN_PORT": str(origin_port)}, folder)
    command = ["varnishd", "-F", "-j", "none", "-n", str(folder), "-T", "none"]
    command += ["-a", f"127.0.0.1:{port}", "-f", str(folder / "varnish.vcl")]
    command += ["-s", f"file,{folder / 'cache'},{size}"]
    for setting in (f"thread_pools={workers}", "timeout_idle=75", "http_gzip_support=off"):
        command += ["-p", setting]
    log = ["varnishncsa", "-n", str(folder), "-w", str(folder / "access.log")]
    with running("varnish", command, port) as server, subprocess.Popen(log) as writer:
        try:
            yield replace(server, helper=writer.pid)
        finally:
            end(writer)


@contextmanager
def edgecache(
    directory: Path, origin_port: int, *, workers: int = 1, size: int = CACHE_SIZE
) -> Iterator[Running]:
    """With an empty cache of `size` bytes."""
    folder = fresh(directory / "edgecache")
    port = free_port()
    values = settings(folder, port, origin_port, workers=workers, size=size)
    with running("edgecache", EDGECACHE, port, values) as server:
        yield server


def settings(
    folder: Path, port: int, origin_port: int, *, workers: int = 1, size: int = CACHE_SIZE
) -> dict[str, str]:
    """What edgecache.yaml leaves open; the cache is in `folder / "cache"`."""
    return {
        "BENCH_PORT": str(port),
        "BENCH_WORKERS": str(workers),
        "BENCH_SIZE": str(size),
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
    """The started server, once it answers."""
    with started(name, command, settings) as process:
        wait_until_answering(name, process, port)
        yield Running(name=name, port=port, pid=process.pid)


@contextmanager
def started(
    name: str, command: list[str], settings: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, ended with SIGTERM.

    What it says is shown if it says more than that it runs: warnings and errors.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("EDGECACHE_")}
    # What pip installs is compiled; a checkout is at its first start, if Python may keep that.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
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
            lines = [line for line in said if not USUAL.search(line)]
            sys.stderr.writelines(lines[:SHOWN])


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_answering(name: str, process: "subprocess.Popen[bytes]", port: int) -> None:
    """Taking connections is not enough: parents listen before they have children who answer."""
    deadline = time.monotonic() + START_LIMIT
    answers = 0
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} ended at its start with status {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                answers += bool(connection.recv(1))
        except OSError:
            time.sleep(0.02)
        if answers == START_ANSWERS:
            return
    sys.exit(f"{name} did not answer within {START_LIMIT:g} s")
