"""Signals as bytes."""

import select
import signal

from edgecache.supervisor.signals import HEEDED, Signals


def test_each_is_read_once_in_its_order() -> None:
    with Signals() as signals:
        assert signals.read() == []
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        assert select.select([signals.reader], [], [], 0)[0]
        assert signals.read() == [signal.SIGHUP, signal.SIGTERM, signal.SIGTERM]
        assert signals.read() == []


def test_those_that_were_blocked_come_too() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.read() == [signal.SIGHUP]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_afterwards_all_is_as_before() -> None:
    handlers = [signal.getsignal(number) for number in HEEDED]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with Signals():
        pass
    assert [signal.getsignal(number) for number in HEEDED] == handlers
    assert signal.set_wakeup_fd(wakeup) == wakeup
