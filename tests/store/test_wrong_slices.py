"""Damage is counted, a disk that does not read is trouble for a while."""

import logging

import pytest

from edgecache.core.model import Removal
from edgecache.store.files import WrongSlice
from edgecache.store.wrong_slices import LASTS, WrongSlices
from tests.conftest import FakeClock

UNREAD = WrongSlice("Input/output error", Removal.UNREAD)


@pytest.fixture
def wrong(clock: FakeClock) -> WrongSlices:
    return WrongSlices(clock=clock)


def test_damage_is_no_trouble_and_logged_once(
    wrong: WrongSlices, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        wrong.note(WrongSlice("content"))
    assert not wrong.trouble
    assert len(caplog.records) == 1


def test_what_is_missing_is_no_damage_and_logged_once_in_its_own_words(
    wrong: WrongSlices, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        wrong.note(WrongSlice("No such file or directory", Removal.MISSING))
    assert not wrong.trouble
    wrong.note(WrongSlice("content"))
    missing, damaged = caplog.messages
    assert "no file" in missing
    assert "damaged" in damaged


def test_a_disk_that_does_not_read_is_trouble_for_a_while(
    wrong: WrongSlices, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        wrong.note(UNREAD)
        clock.advance(LASTS - 1)
        assert "Input/output error" in wrong.trouble
    clock.advance(1)
    assert not wrong.trouble
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    wrong.note(UNREAD)
    assert wrong.trouble
