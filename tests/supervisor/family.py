"""A program that is a parent with small children: `family(...)` runs it, and says which.

What children do is in BEHAVIOURS; each line that they write is one write, to be waited for.
"""

import ctypes
import hashlib
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecache.supervisor import Child, Role, States, Timing, supervise
from tests.end_to_end.programs import Program, environment, running

ROOT = Path(__file__).parent.parent.parent
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


@contextmanager
def family(
    roles: Mapping[str, str],
    *,
    env: Mapping[str, str] | None = None,
    config: Path | None = None,
    drain_timeout: float = 20.0,
    timing: Mapping[str, float] | None = None,
) -> Iterator[Program]:
    """A parent with a child of each role: name=behaviour."""
    plan = json.dumps([dict(roles), str(config), drain_timeout, timing or {}])
    command = (sys.executable, "-m", "tests.supervisor.family", plan)
    with running(*command, env=environment(**env or {}), cwd=ROOT) as program:
        try:
            yield program
        except BaseException:
            with suppress(ProcessLookupError):  # children that outlived the parent
                os.killpg(program.process.pid, signal.SIGKILL)
            raise


def pid_of(program: Program, name: str, start: int = 1) -> int:
    """Of the child in its so many-eth life, when it serves."""
    return int(program.stdout.wait(rf"^{name} serves start={start} pid=(\d+)")[1])


# The program


def main() -> int:
    roles, config, drain_timeout, timing = json.loads(sys.argv[1])
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    states = States(list(roles))

    def reload() -> bytes | None:
        message = Path(config).read_bytes()
        if message != b"bad":
            return message
        logging.error("the config is bad")
        return None

    print("not flushed before the forks")  # to a pipe, so it stays in the buffer
    return supervise(
        [
            Role(name, lambda child, do=behaviour: BEHAVIOURS[do](child, states))  # type: ignore[misc]
            for name, behaviour in roles.items()
        ],
        states=states,
        drain_timeout=drain_timeout,
        reload=reload,
        timing=Timing(**timing),
    )


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Caught:
    """Signals of a child, one after another, and its messages between them."""

    def __init__(self, child: Child, states: States) -> None:
        self.child, self.states = child, states
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self.writer.fileno())
        self.watched = [self.reader, self.child.control]

    def serve(self) -> None:
        index = self.states.names.index(self.child.name)
        self.child.ready()
        start = self.states.child(index).starts
        told = "NOTIFY_SOCKET" in os.environ
        name = Path("/proc/self/comm").read_text("utf-8").strip()
        say(f"{self.child.name} serves {start=} pid={os.getpid()} {name=} {told=}")

    def next(self, *, answers: bool = True) -> int:
        """0: the parent is gone. SIGUSR2 asks for a sign of life."""
        while True:
            readable, _, _ = select.select(self.watched, [], [])
            if self.child.control in readable:
                try:
                    messages = self.child.messages()
                except EOFError:
                    self.watched.remove(self.child.control)
                    return 0
                for message in messages:
                    digest = hashlib.sha256(message).hexdigest()[:8]
                    say(f"{self.child.name} got {len(message)} {digest}")
                    if answers:
                        self.child.answer()
            elif (number := self.reader.recv(1)[0]) != signal.SIGUSR2:
                return number
            else:
                problems = self.states.problems(time.monotonic())
                say(f"{self.child.name} lives {problems=}")


def steady(child: Child, states: States) -> int:
    drained(child, states)
    return 0


def lingers(child: Child, states: States) -> int:
    """Drains until SIGUSR1."""
    caught = drained(child, states)
    while caught.next() != signal.SIGUSR1:
        pass
    return 0


def stays(child: Child, states: States) -> int:
    caught = drained(child, states)
    while True:
        caught.next()


def drained(child: Child, states: States) -> Caught:
    caught = Caught(child, states)
    caught.serve()
    while caught.next() != signal.SIGTERM:
        pass
    say(f"{child.name} drains")
    return caught


def mute(child: Child, states: States) -> int:
    caught = Caught(child, states)
    caught.serve()
    while caught.next(answers=False) != signal.SIGTERM:
        pass
    return 0


def unfollowed(child: Child, states: States) -> int:
    """Where no kernel tells of the parent's death."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
    caught = Caught(child, states)
    caught.serve()
    while caught.next():
        pass
    say(f"{child.name} is alone")
    return 0


def survives(child: Child, states: States) -> int:
    """Until SIGUSR1, whatever becomes of its parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
    caught = Caught(child, states)
    caught.serve()
    while caught.next() != signal.SIGUSR1:
        pass
    return 0


def crashes(child: Child, states: States) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def raises(child: Child, states: States) -> int:
    raise RuntimeError("as told")


def leaves(child: Child, states: States) -> int:
    sys.exit("left word")


def begets(child: Child, states: States) -> int:
    """Leaves a grandchild behind, to whoever takes it."""
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(0.01)
        say(f"orphan pid={os.getpid()} of={os.getppid()}")
        signal.pause()
    return 0


BEHAVIOURS = {
    "steady": steady,
    "lingers": lingers,
    "stays": stays,
    "mute": mute,
    "unfollowed": unfollowed,
    "survives": survives,
    "crashes": crashes,
    "raises": raises,
    "leaves": leaves,
    "begets": begets,
}

if __name__ == "__main__":
    if "begets" in sys.argv[1]:  # be to orphans what PID 1 is
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.exit(main())
