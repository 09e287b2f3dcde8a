"""What the parent decides, with made-up children and a clock that it is told."""

import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from edgecache.supervisor import States, supervise
from edgecache.supervisor.child import Child, Role
from edgecache.supervisor.loop import Supervisor, Timing
from edgecache.supervisor.notify import Notifier
from edgecache.supervisor.process import Process
from tests.conftest import FakeClock

NAMES = ("keeper", "worker-1", "worker-2")
DRAIN_TIMEOUT = 30.0
EXIT_1 = 1 << 8


class FakeProcess(Process):
    def __init__(self, name: str, pid: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        super().__init__(name, pid, ours)
        self.child = Child(name, theirs)
        self.got: list[str] = []
        self.on_signal: Callable[[signal.Signals], None] = lambda _: None

    def signal(self, number: signal.Signals) -> None:
        self.got.append(number.name)
        self.on_signal(number)


class RecordingNotifier(Notifier):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _tell(self, message: str) -> None:
        self.told.append(message.split("\n")[0])


class World:
    """A parent whose forks are written down, and whose children die when they are told."""

    def __init__(self) -> None:
        self.clock = FakeClock(0.0)
        self.states = States(NAMES)
        self.notifier = RecordingNotifier()
        self.reloads = 0
        self.forks: list[tuple[float, str]] = []
        self.processes: dict[str, FakeProcess] = {}
        self.all: list[FakeProcess] = []
        self.ends: list[tuple[int, int]] = []
        self.fork_error: OSError | None = None
        self.parent = Supervisor(
            [Role(name, lambda _: 0) for name in NAMES],
            self.states,
            self.notifier,
            drain_timeout=DRAIN_TIMEOUT,
            reload=self._reload,
            timing=Timing(),
            clock=self.clock,
        )

    def _reload(self) -> bytes:
        self.reloads += 1
        return b"config"

    def fork(self, role: Role, *, close: Sequence[object]) -> Process:
        if self.fork_error:
            raise self.fork_error
        self.forks.append((round(self.clock.now, 3), role.name))
        process = FakeProcess(role.name, 1000 + len(self.forks))
        self.processes[role.name] = process
        self.all.append(process)
        return process

    def wait(self, *_: int) -> tuple[int, int]:
        return self.ends.pop(0) if self.ends else (0, 0)

    def turn(self, *, until: float | None = None) -> None:
        if until is not None:
            self.clock.now = until
        self.parent.turn()

    def ends_with(self, name: str, status: int = EXIT_1) -> None:
        self.ends.append((self.processes[name].pid, status))
        self.turn()

    def signal(self, number: signal.Signals) -> None:
        signal.raise_signal(number)
        self.turn()

    def listen(self) -> list[str]:
        """Who has a message; each answers."""
        alive = [name for name, process in self.processes.items() if process.listens]
        told = [name for name in alive if self.processes[name].child.messages()]
        for name in told:
            self.processes[name].child.answer()
        self.turn()
        return told

    def signals(self) -> list[list[str]]:
        return [self.processes[name].got for name in NAMES]


@pytest.fixture
def new_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr("edgecache.supervisor.loop.start", world.fork)
    monkeypatch.setattr("os.waitpid", world.wait)
    yield world
    for process in world.all:
        process.control.close()
        process.child.control.close()


@pytest.fixture
def world(new_world: World) -> Iterator[World]:
    """All children are forked."""
    with new_world.parent.signals:
        new_world.turn()
        yield new_world


@pytest.mark.parametrize(
    ("quick_deaths", "delay"),
    [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.4), (7, 6.4), (8, 10.0), (9, 10.0), (5000, 10.0)],
)
def test_delays_double_up_to_the_longest(quick_deaths: int, delay: float) -> None:
    assert Timing().delay(quick_deaths) == pytest.approx(delay)


def test_states_of_other_roles_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of the roles"):
        supervise([], states=States(NAMES), drain_timeout=1.0, reload=lambda: None)


def test_children_are_forked_in_the_order_of_their_roles(world: World) -> None:
    assert world.forks == [(0.0, "keeper"), (0.0, "worker-1"), (0.0, "worker-2")]
    assert [child.starts for child in world.states.children()] == [1, 1, 1]


def test_who_dies_at_once_again_and_again_waits_longer_and_longer(world: World) -> None:
    for _ in range(9):
        world.ends_with("worker-1", signal.SIGSEGV)
        world.turn(until=world.parent.due)
    starts = [time for time, name in world.forks if name == "worker-1"]
    assert starts == [0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 22.7, 32.7]
    assert len(world.forks) == len(starts) + 2
    assert world.states.problems(world.clock.now) == [
        "worker-1 keeps dying (SIGSEGV), started again"
    ]


def test_who_ran_for_a_while_is_replaced_at_once(world: World) -> None:
    for _ in range(3):
        world.ends_with("worker-2")
        world.turn(until=world.parent.due)
    now = world.clock.now + 10.0
    world.turn(until=now)
    world.ends_with("worker-2")
    assert world.forks[-1] == (round(now, 3), "worker-2")
    assert world.states.child(2).quick_deaths == 0


def test_a_child_that_waits_does_not_keep_another_waiting(world: World) -> None:
    for _ in range(6):
        world.ends_with("worker-1")
        world.turn(until=world.parent.due)
    world.ends_with("worker-1")
    world.turn(until=world.clock.now + 3.8)
    world.ends_with("keeper")
    assert world.forks[-1] == (round(world.clock.now, 3), "keeper")


def test_a_fork_that_fails_is_tried_again_like_a_child_that_dies(world: World) -> None:
    world.fork_error = OSError("no memory")
    world.ends_with("worker-1")
    for _ in range(3):
        world.turn(until=world.parent.due)
    state = world.states.child(1)
    assert (state.pid, state.starts, state.quick_deaths) == (0, 1, 4)
    assert "worker-1 keeps dying (not forked), next start in 1 s" in world.states.problems(0.7)
    world.fork_error = None
    world.turn(until=world.parent.due)
    assert world.states.child(1).starts == 2


def test_the_end_of_an_unknown_process_changes_nothing(world: World) -> None:
    world.ends.append((4711, EXIT_1))
    world.turn()
    assert len(world.forks) == 3


def test_ready_is_told_once_when_all_are(world: World) -> None:
    for name in ("keeper", "worker-1"):
        world.processes[name].child.ready()
    world.turn()
    assert "READY=1" not in world.notifier.told
    world.processes["worker-2"].child.ready()
    world.turn()
    world.ends_with("worker-2")
    world.turn(until=world.parent.due)
    world.processes["worker-2"].child.ready()
    world.turn()
    assert world.notifier.told == [
        "STATUS=0 of 3 serve",
        "STATUS=2 of 3 serve",
        "READY=1",
        "STATUS=3 of 3 serve",
        "STATUS=2 of 3 serve",
        "STATUS=3 of 3 serve",
    ]


def test_a_reload_asked_for_during_another_comes_after_it(world: World) -> None:
    world.signal(signal.SIGHUP)
    world.signal(signal.SIGHUP)
    world.signal(signal.SIGHUP)
    assert world.reloads == 1
    assert world.listen() == ["keeper"]
    assert world.listen() == ["worker-1", "worker-2"]
    assert world.reloads == 2
    assert world.listen() == ["keeper"]
    assert world.listen() == ["worker-1", "worker-2"]
    assert world.listen() == []
    assert world.reloads == 2


def test_who_is_forked_after_the_reload_has_it_already(world: World) -> None:
    world.signal(signal.SIGHUP)
    world.turn(until=4.9)
    world.ends_with("worker-1")
    world.turn(until=5.1)
    assert world.listen() == ["keeper", "worker-2"]


def test_without_the_first_child_the_others_are_told_together(world: World) -> None:
    world.ends_with("keeper")
    world.signal(signal.SIGHUP)
    assert world.listen() == ["worker-1", "worker-2"]


def test_a_drain_ends_a_reload(world: World) -> None:
    world.signal(signal.SIGHUP)
    world.signal(signal.SIGTERM)
    assert world.listen() == ["keeper"]
    assert world.listen() == []


def test_both_parts_of_a_drain_share_its_time(world: World) -> None:
    world.signal(signal.SIGTERM)
    assert world.signals() == [[], ["SIGTERM"], ["SIGTERM"]]
    world.clock.now = 20.0
    world.ends_with("worker-1", 0)
    assert world.signals()[0] == []
    world.ends_with("worker-2", 0)
    assert world.signals()[0] == ["SIGTERM"]
    assert world.parent.due == DRAIN_TIMEOUT + 5.0
    world.turn(until=world.parent.due)
    assert world.signals() == [["SIGTERM", "SIGKILL"], ["SIGTERM"], ["SIGTERM"]]


def test_a_second_signal_kills_all_the_first_child_too(world: World) -> None:
    world.signal(signal.SIGINT)
    world.signal(signal.SIGTERM)
    assert world.signals() == [["SIGKILL"], ["SIGTERM", "SIGKILL"], ["SIGTERM", "SIGKILL"]]


def test_a_drain_starts_nobody(world: World) -> None:
    world.ends_with("worker-1")
    world.signal(signal.SIGTERM)
    world.ends_with("worker-2")
    world.turn(until=20.0)
    assert len(world.forks) == 3


@pytest.mark.parametrize(
    ("deadly", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)], ids=["drained", "killed"]
)
def test_the_exit_status_says_whether_all_drained(
    new_world: World, monkeypatch: pytest.MonkeyPatch, deadly: signal.Signals, status: int
) -> None:
    world = new_world

    def fork(role: Role, *, close: Sequence[object]) -> Process:
        process = world.fork(role, close=close)

        def heed(number: signal.Signals) -> None:
            if number == deadly:
                world.ends.append((process.pid, number))
                signal.raise_signal(signal.SIGCHLD)
            elif role.name == NAMES[-1]:
                signal.raise_signal(signal.SIGTERM)  # the operator's second

        world.processes[role.name].on_signal = heed
        if role.name == NAMES[-1]:
            signal.raise_signal(signal.SIGTERM)
        return process

    monkeypatch.setattr("edgecache.supervisor.loop.start", fork)
    assert world.parent.run() == status
    assert [child.pid for child in world.states.children()] == [0, 0, 0]


def test_children_are_told_to_end_when_the_parent_fails(
    new_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> tuple[int, int]:
        raise MemoryError

    monkeypatch.setattr(new_world.parent, "_wait", fail)
    with pytest.raises(MemoryError):
        new_world.parent.run()
    assert new_world.signals() == [["SIGTERM"]] * 3


def test_a_reload_that_fails_or_has_no_config_tells_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bytes | None:
        raise OSError("no such file")

    for reload in (fail, lambda: None):
        monkeypatch.setattr(world.parent, "_read_config", reload)
        world.signal(signal.SIGHUP)
        assert world.listen() == []
    assert [record.message for record in caplog.records if record.exc_info] == ["reload failed"]
