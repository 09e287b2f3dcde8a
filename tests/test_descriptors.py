"""The shares of the descriptor limit."""

import resource

import pytest

from edgecache.descriptors import most_connections, most_slices


@pytest.mark.parametrize("soft", [128, 1024, 65536])
def test_the_shares_leave_some_for_the_rest(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert 0 < 2 * most_connections() + most_slices() < soft * 0.95


def test_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    infinite = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (infinite, infinite))
    assert most_connections() > 10**9
    assert most_slices() > 10**9
