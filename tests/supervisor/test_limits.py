"""The descriptor limit: up to the hard one, never down, never beyond reason."""

import resource

import pytest

from edgecache.supervisor.limits import MOST_FILES, raise_file_limit

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "limit"),
    [
        (1024, 4096, 4096),
        (4096, 4096, 4096),
        (1024, 10**9, MOST_FILES),
        (1024, INFINITY, MOST_FILES),
        (10**9, 10**9, 10**9),
        (INFINITY, INFINITY, INFINITY),
    ],
)
def test_soft_to_hard(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, limit: int) -> None:
    limits = (soft, hard)

    def set_limits(_: int, wanted: tuple[int, int]) -> None:
        nonlocal limits
        limits = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    assert raise_file_limit() == limit
    assert limits == (limit, hard)


def test_the_kernel_takes_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= before[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
