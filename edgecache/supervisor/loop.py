"""The parent: starts children and starts them again, until it is told to stop.

Rule of this module: `_wait` is the only place that waits, and it ends for a signal, a child that
tells something, or the next thing that is due.
"""

import logging
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgecache.supervisor.child import Role
from edgecache.supervisor.notify import Notifier
from edgecache.supervisor.process import Process, start
from edgecache.supervisor.reload import Reload
from edgecache.supervisor.signals import Signals
from edgecache.supervisor.states import NOT_FORKED, States, describe_end

log = logging.getLogger("edgecache.supervisor")

KILLED = 1
# More of them are longer than any delay, and 1100 more than a float holds.
DOUBLINGS = 30
# poll() takes no more than 24 days.
LONGEST_WAIT = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """In seconds."""

    stable: float = 10.0  # a child that ran for so long did not die of its start
    first_delay: float = 0.1
    longest_delay: float = 10.0
    answer: float = 5.0  # to a message
    grace: float = 5.0  # on top of drain_timeout, for children that watch it themselves

    def delay(self, quick_deaths: int) -> float:
        """Before the next start, after so many quick deaths in a row."""
        if not quick_deaths:
            return 0.0
        doubled = math.ldexp(self.first_delay, min(quick_deaths - 1, DOUBLINGS))
        return min(doubled, self.longest_delay)


def supervise(
    roles: Sequence[Role],
    *,
    states: States,
    drain_timeout: float,
    reload: Callable[[], bytes | None],
    on_drain: Callable[[], None] = lambda: None,
    notifier: Notifier | None = None,
    timing: Timing = Timing(),
) -> int:
    """Keep one child of each role running; the exit status: 0 when all drained, 1 when some were
    killed.

    SIGTERM, SIGINT: SIGTERM to all but the first role, and to the first when they have ended.
    A second one, or drain_timeout and the grace: SIGKILL. SIGHUP: `reload()` gives the message that
    children are told, the first of them first; None is a config that is not taken. `on_drain` is
    where the parent lets go of what it holds for children to come. To be called in
    the main thread of a process without others. `states` are made with the names of the roles.
    """
    if states.names != tuple(role.name for role in roles):
        raise ValueError("the states are not those of the roles")
    notifier = notifier or Notifier.from_environment(os.environ)
    return Supervisor(
        roles,
        states,
        notifier,
        drain_timeout=drain_timeout,
        reload=reload,
        on_drain=on_drain,
        timing=timing,
    ).run()


class Supervisor:
    """A child is known by the index of its role."""

    def __init__(
        self,
        roles: Sequence[Role],
        states: States,
        notifier: Notifier,
        *,
        drain_timeout: float,
        reload: Callable[[], bytes | None],
        timing: Timing,
        on_drain: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roles = roles
        self._states = states
        self._notifier = notifier
        self._drain_timeout = drain_timeout + timing.grace
        self._read_config = reload
        self._on_drain = on_drain
        self._timing = timing
        self._clock = clock
        self.signals = Signals()
        self._running: dict[int, Process] = {}
        self._announced = False
        self._status = ""
        self._reload: Reload | None = None
        self._reload_asked = False
        self._drain_until = math.inf
        self._draining = self._first_told = self._killed = False

    def run(self) -> int:
        with self.signals:
            try:
                self.turn()
                while self._running or not self._draining:
                    self._wait()
                    self.turn()
            finally:  # a failure of the parent, else nothing runs any more
                self._send(signal.SIGTERM, self._running)
        return KILLED if self._killed else 0

    def turn(self) -> None:
        """Do all that is due now."""
        # Who ended after this reading wakes the next wait; a second signal finds who ended reaped.
        signals = self.signals.read()
        self._reap()
        for number in signals:
            self._heed(number)
        for index, process in self._running.items():
            process.flush()
            process.hear()
            if process.ready and not self._states.child(index).ready:
                log.info("child ready name=%s pid=%d", process.name, process.pid)
                self._states.change(index, ready=True)
        if self._draining:
            self._go_on_draining()
        else:
            self._start_due()
            self._go_on_reloading()
        self._tell_systemd()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.signals.reader, select.POLLIN)
        for process in self._running.values():
            if process.listens:
                events = select.POLLIN | (select.POLLOUT if process.behind else 0)
                poll.register(process.control, events)
        poll.poll(min(max(self.due - self._clock(), 0), LONGEST_WAIT) * 1000)

    @property
    def due(self) -> float:
        """The monotonic time at which a turn has something to do, whatever happens until then."""
        return min(self._deadlines())

    def _deadlines(self) -> Iterator[float]:
        yield self._notifier.due
        if self._draining:
            yield math.inf if self._killed else self._drain_until
            return
        for index in self._absent():
            yield self._states.child(index).next_start
        if self._reload:
            yield self._reload.until

    # Children come and go

    def _absent(self) -> list[int]:
        return [index for index in range(len(self._roles)) if index not in self._running]

    def _start_due(self) -> None:
        for index in self._absent():
            if self._clock() >= self._states.child(index).next_start:
                self._start(index)

    def _start(self, index: int) -> None:
        role, state = self._roles[index], self._states.child(index)
        closes = [self.signals.close, *(p.control.close for p in self._running.values())]
        # Before the fork: the child may read it.
        self._states.change(index, starts=state.starts + 1, started=self._clock())
        try:
            process = start(role, close=closes)
        except OSError as error:
            log.error("child not forked name=%s error=%s", role.name, error)
            self._states.change(index, starts=state.starts, status=NOT_FORKED)
            self._put_off(index, state.quick_deaths + 1)
            return
        self._running[index] = process
        self._states.change(index, pid=process.pid)
        log.info("child started name=%s pid=%d", role.name, process.pid)

    def _reap(self) -> None:
        """All that have ended: as PID 1 also those that others left behind."""
        indexes = {process.pid: index for index, process in self._running.items()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in indexes:
                self._ended(indexes[pid], status)

    def _ended(self, index: int, status: int) -> None:
        process = self._running.pop(index)
        process.ended = True
        process.hang_up()
        state = self._states.change(index, pid=0, ready=False, status=status)
        uptime = self._clock() - state.started
        log.log(
            logging.INFO if self._draining else logging.WARNING,
            "child ended name=%s pid=%d end=%s uptime=%.1fs",
            *(process.name, process.pid, describe_end(status), uptime),
        )
        quick = uptime < self._timing.stable
        self._put_off(index, state.quick_deaths + 1 if quick else 0)

    def _put_off(self, index: int, quick_deaths: int) -> None:
        next_start = self._clock() + self._timing.delay(quick_deaths)
        self._states.change(index, quick_deaths=quick_deaths, next_start=next_start)

    # Signals

    def _heed(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT if self._draining:
                log.warning("killing all children signal=%s", number.name)
                self._kill()
            case signal.SIGTERM | signal.SIGINT:
                log.info("draining for at most %gs signal=%s", self._drain_timeout, number.name)
                self._drain()
            case signal.SIGHUP:
                self._reload_asked = True
            case _:
                pass  # SIGCHLD: every turn reaps

    def _drain(self) -> None:
        self._draining = self._states.draining = True
        self._on_drain()
        self._drain_until = self._clock() + self._drain_timeout
        self._notifier.stopping()
        self._send(signal.SIGTERM, [index for index in self._running if index])

    def _go_on_draining(self) -> None:
        if not self._first_told and set(self._running) == {0}:
            self._first_told = True
            self._send(signal.SIGTERM, [0])
        if self._running and not self._killed and self._clock() >= self._drain_until:
            names = " ".join(process.name for process in self._running.values())
            log.error("not drained in %gs, killing names=%s", self._drain_timeout, names)
            self._kill()

    def _kill(self) -> None:
        self._killed |= bool(self._running)
        self._send(signal.SIGKILL, self._running)

    def _send(self, number: signal.Signals, indexes: Iterable[int]) -> None:
        for index in indexes:
            self._running[index].signal(number)

    def _go_on_reloading(self) -> None:
        while self._reload or self._reload_asked:
            if self._reload is None:
                self._reload = self._begin_reload()
            if self._reload:
                if not self._reload.advance(self._clock()):
                    return
                log.info("reloaded")
            self._reload = None
            if self._announced:
                self._notifier.ready()

    def _begin_reload(self) -> Reload | None:
        self._reload_asked = False
        if self._announced:
            self._notifier.reloading(self._clock())
        try:
            message = self._read_config()
        except Exception:
            log.exception("reload failed")
            return None
        if message is None:
            return None
        # Who is forked from now on has it already.
        first = [process for index, process in self._running.items() if not index]
        others = [process for index, process in self._running.items() if index]
        return Reload(message, [first, others], self._timing.answer)

    # systemd

    def _tell_systemd(self) -> None:
        children = self._states.children()
        ready = sum(child.ready for child in children)
        if not self._announced and not self._draining and ready == len(children):
            self._announced = True
            self._notifier.ready()
        dying = [f"{c.name} keeps dying ({c.last_end})" for c in children if c.keeps_dying]
        status = "; ".join([f"{ready} of {len(children)} serve", *dying])
        if status != self._status:
            self._status = status
            self._notifier.status(status)
        self._notifier.beat(self._clock())
