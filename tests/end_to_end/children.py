"""The processes of a server, as its log and the kernel tell of them."""

import os
import re
import signal
import time
from pathlib import Path

from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache

BACK = 2.0  # seconds until a process that was killed serves again


def pid_of(server: Edgecache, name: str) -> int:
    """Of the child that serves under that name now or did last."""
    pattern = re.compile(rf"child ready name={name} pid=(\d+)")
    found = [match for line in server.stderr if (match := pattern.search(line))]
    return int(found[-1][1]) if found else 0


def serving_children(server: Edgecache, *names: str) -> dict[str, int]:
    """Their pids, once all of them serve."""
    eventually(lambda: all(pid_of(server, name) for name in names), f"{names} serve")
    return {name: pid_of(server, name) for name in names}


def kill(server: Edgecache, name: str) -> float:
    """With SIGKILL; how long it took until a successor served."""
    pid = serving_children(server, name)[name]
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid_of(server, name) != pid, f"a successor of {name}")
    return time.monotonic() - began


def all_of(server: Edgecache) -> list[int]:
    """The pids of the parent and its children, or of the only process."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def cpu_seconds(pid: int) -> float:
    """Of processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sockets_of(pid: int) -> set[str]:
    """The inodes of its open sockets."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def clients_of(pid: int) -> set[int]:
    """The ports of those who are connected to it over IPv4."""
    own = sockets_of(pid)
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[9] in own}
