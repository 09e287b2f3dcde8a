"""Real processes: one parent, its children, and signals."""

import hashlib
import os
import re
import signal
from pathlib import Path

import pytest

from tests.end_to_end.programs import Program, eventually
from tests.supervisor.family import family, pid_of

FLAPPING = {"first_delay": 0.01, "longest_delay": 0.02}
AT_ONCE = {"stable": 0.0}
PAIR = {"keeper": "steady", "worker": "steady"}


def serving(program: Program, *names: str) -> dict[str, int]:
    return {name: pid_of(program, name) for name in names}


def deaths(program: Program, name: str) -> int:
    return len([line for line in program.stderr if f"ended name={name} " in line])


def drains_in_order(program: Program) -> bool:
    """The first role is told when the others have ended."""
    ended = [line for line in program.stderr if line.startswith("child ended")]
    return "name=keeper " in ended[-1] and program.stdout.find("^keeper drains") is not None


def test_a_killed_child_is_replaced_and_the_others_do_not_notice() -> None:
    roles = {"keeper": "steady", "worker-1": "steady", "worker-2": "steady"}
    with family(roles, timing=AT_ONCE) as program:
        before = serving(program, *roles)
        os.kill(before["worker-1"], signal.SIGKILL)
        assert pid_of(program, "worker-1", start=2) not in before.values()
        program.stderr.wait(r"child ended name=worker-1 pid=\d+ end=SIGKILL uptime=\d")
        for name in ("keeper", "worker-2"):
            os.kill(before[name], signal.SIGUSR2)
            program.stdout.wait(f"^{name} lives")
        assert program.stop() == 0
    assert not program.stderr.find("child ended name=(keeper|worker-2) .* end=SIG")


def test_the_first_child_is_replaced_like_the_others() -> None:
    with family(PAIR, timing=AT_ONCE) as program:
        os.kill(pid_of(program, "keeper"), signal.SIGKILL)
        pid_of(program, "keeper", start=2)
        assert program.stop() == 0
        assert drains_in_order(program)


def test_a_child_that_keeps_dying_is_told_of_in_the_others() -> None:
    with family({"keeper": "steady", "worker": "crashes"}, timing=FLAPPING) as program:
        keeper = pid_of(program, "keeper")
        eventually(lambda: deaths(program, "worker") >= 3, "three deaths")
        os.kill(keeper, signal.SIGUSR2)
        lives = program.stdout.wait("^keeper lives")
        assert re.search(
            r"worker keeps dying \(SIGSEGV\), (next start in \d s|started again)", lives.string
        )
        assert program.stop() == 0


def test_what_a_child_raises_is_logged_and_its_status_told() -> None:
    with family({"keeper": "steady", "raising": "raises", "leaving": "leaves"}) as program:
        pid_of(program, "keeper")
        program.stderr.wait("child ended name=raising .* end=exit 70 ")
        program.stderr.wait("child ended name=leaving .* end=exit 1 ")
        assert program.stderr.find("child failed name=raising")
        assert program.stderr.find("RuntimeError: as told")
        assert program.stderr.find("^left word$")
        assert program.stop() == 0


def test_a_child_has_its_name_and_writes_nothing_of_the_parents() -> None:
    with family(PAIR) as program:
        serving(program, "keeper", "worker")
        assert program.stdout.find("^worker serves .* name='worker'")
        program.stop()
    assert len([line for line in program.stdout if line.startswith("not flushed")]) == 1


# Ends


@pytest.mark.parametrize("to_all", [False, True], ids=["SIGTERM", "ctrl-c"])
def test_the_first_role_drains_when_the_others_have_ended(to_all: bool) -> None:
    roles = {"keeper": "steady", "worker-1": "lingers", "worker-2": "lingers"}
    with family(roles) as program:
        pids = serving(program, *roles)
        if to_all:  # as a terminal sends it
            os.killpg(program.process.pid, signal.SIGINT)
        else:
            program.signal(signal.SIGTERM)
        for name in ("worker-1", "worker-2"):
            program.stdout.wait(f"^{name} drains")
        os.kill(pids["worker-1"], signal.SIGUSR1)
        program.stderr.wait("child ended name=worker-1 .* end=exit 0")
        os.kill(pids["keeper"], signal.SIGUSR2)
        program.stdout.wait("^keeper lives")
        assert not program.stdout.find("^keeper drains")
        os.kill(pids["worker-2"], signal.SIGUSR1)
        assert program.ended() == 0
        assert drains_in_order(program)


def test_who_dies_while_draining_is_not_replaced() -> None:
    roles = {"keeper": "steady", "worker-1": "lingers", "worker-2": "lingers"}
    with family(roles, timing=AT_ONCE) as program:
        pids = serving(program, *roles)
        program.signal(signal.SIGTERM)
        for name in ("worker-1", "worker-2"):
            program.stdout.wait(f"^{name} drains")
        os.kill(pids["keeper"], signal.SIGKILL)
        os.kill(pids["worker-1"], signal.SIGKILL)
        program.stderr.wait("child ended name=worker-1 .* end=SIGKILL")
        os.kill(pids["worker-2"], signal.SIGUSR1)
        assert program.ended() == 0
    assert len([line for line in program.stderr if "child started" in line]) == 3


def test_a_second_signal_kills() -> None:
    with family({"keeper": "steady", "worker": "stays"}) as program:
        serving(program, "keeper", "worker")
        program.signal(signal.SIGTERM)
        program.stdout.wait("^worker drains")
        program.signal(signal.SIGINT)
        assert program.ended() == 1
    assert program.stderr.find("child ended name=worker .* end=SIGKILL")


def test_who_does_not_drain_in_time_is_killed() -> None:
    with family(
        {"keeper": "steady", "worker": "stays"}, drain_timeout=0.0, timing={"grace": 0.1}
    ) as p:
        serving(p, "keeper", "worker")
        p.signal(signal.SIGTERM)
        assert p.ended() == 1
    assert p.stderr.find("not drained in 0.1s, killing names=keeper worker")


def test_children_end_with_their_parent() -> None:
    roles = {"keeper": "steady", "worker-1": "steady", "worker-2": "steady"}
    with family(roles) as program:
        serving(program, *roles)
        program.signal(signal.SIGKILL)
        for name in roles:
            program.stdout.wait(f"^{name} drains")
        assert program.ended() == -signal.SIGKILL


def test_where_the_kernel_does_not_tell_of_the_parents_end_the_socket_does() -> None:
    """No sibling has the parent's end of it."""
    roles = {"keeper": "unfollowed", "worker-1": "unfollowed", "worker-2": "survives"}
    with family(roles) as program:
        pids = serving(program, *roles)
        program.signal(signal.SIGKILL)
        for name in ("keeper", "worker-1"):
            program.stdout.wait(f"^{name} is alone")
        os.kill(pids["worker-2"], signal.SIGUSR1)
        assert program.ended() == -signal.SIGKILL


def test_orphans_of_others_are_reaped() -> None:
    with family(
        {"keeper": "begets"}, timing={"first_delay": 60.0, "longest_delay": 60.0}
    ) as program:
        orphan, parent = program.stdout.wait(r"^orphan pid=(\d+) of=(\d+)").groups()
        assert int(parent) == program.process.pid
        os.kill(int(orphan), signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan is reaped")
        assert program.stop() == 0


# Reload


def digest(message: bytes) -> str:
    return f"{len(message)} {hashlib.sha256(message).hexdigest()[:8]}"


def test_all_children_get_a_large_message_the_first_of_them_first(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(os.urandom(3_000_000))
    with family(PAIR, config=config) as program:
        serving(program, "keeper", "worker")
        program.signal(signal.SIGHUP)
        program.stderr.wait("^reloaded$")
        program.stdout.wait("^worker got ")
        got = [line for line in program.stdout if " got " in line]
        told = digest(config.read_bytes())
        assert got == [f"keeper got {told}", f"worker got {told}"]
        assert program.stop() == 0


def test_a_bad_config_is_told_to_nobody_and_the_next_good_one_is(tmp_path: Path) -> None:
    config = tmp_path / "config"
    with family(PAIR, config=config) as program:
        serving(program, "keeper", "worker")
        program.signal(signal.SIGHUP)  # which raises: there is no file
        program.stderr.wait("^reload failed")
        config.write_bytes(b"bad")
        program.signal(signal.SIGHUP)
        program.stderr.wait("^the config is bad$")
        config.write_bytes(b"good")
        program.signal(signal.SIGHUP)
        program.stdout.wait(f"worker got {digest(b'good')}")
        assert program.stop() == 0
    assert not program.stdout.find(digest(b"bad"))


def test_a_first_child_that_does_not_answer_delays_the_others_only(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"good")
    timing = {"answer": 0.1}
    with family({"keeper": "mute", "worker": "steady"}, config=config, timing=timing) as program:
        serving(program, "keeper", "worker")
        program.signal(signal.SIGHUP)
        program.stdout.wait("^worker got")
        program.stderr.wait("reload not answered name=keeper")
        assert program.stop() == 0


def test_a_death_during_a_reload_ends_the_wait_for_it(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"good")
    timing = {"answer": 1000.0, "stable": 0.0}
    with family({"keeper": "mute", "worker": "steady"}, config=config, timing=timing) as program:
        pids = serving(program, "keeper", "worker")
        program.signal(signal.SIGHUP)
        program.stdout.wait("^keeper got")
        os.kill(pids["keeper"], signal.SIGKILL)
        program.stdout.wait("^worker got")
        program.stderr.wait("^reloaded$")
        pid_of(program, "keeper", start=2)
        assert program.stop() == 0
