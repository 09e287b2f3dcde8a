"""The allocator's switches: there or not, nothing but speed changes."""

import ctypes
import gc

import pytest

from edgecache import memory


def test_a_c_library_without_the_switches_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()


def test_both_switches_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, name: int, value: int) -> int:
            calls.append((name, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    memory.keep_freed_memory()
    assert calls == [(-3, 32 * 2**20), (-1, 64 * 2**20)]


def test_freed_memory_is_returned_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Library:
        malloc_trim = staticmethod(calls.append)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    memory.return_freed_memory()
    assert calls == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.return_freed_memory()


def test_what_is_made_at_start_is_not_collected_then_nor_later() -> None:
    before = gc.get_freeze_count()
    try:
        with memory.uncollected():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
