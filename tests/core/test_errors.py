import re
from http import HTTPStatus

import pytest

from edgecache.core.errors import (
    BadTarget,
    CannotStart,
    ClientError,
    ConfigError,
    EdgecacheError,
    Forbidden,
    MethodNotAllowed,
    NotAsked,
    NotFound,
    RangeNotSatisfiable,
    StoreError,
    Unwanted,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadTarget("no"), 400),
        (Forbidden("no"), 403),
        (NotFound("no"), 404),
        (MethodNotAllowed("no"), 405),
        (RangeNotSatisfiable(10), 416),
        (UpstreamError("no"), 502),
        (UpstreamDenied("no"), 502),
        (VersionChanged("no"), 502),
        (UpstreamBusy("no"), 503),
        (UpstreamTimeout("no"), 504),
    ],
)
def test_the_branch_says_whose_fault_and_which_status(error: EdgecacheError, status: int) -> None:
    assert error.status == status
    assert isinstance(error, ClientError) == (status < 500)
    assert isinstance(error, UpstreamError) == (status >= 500)


@pytest.mark.parametrize("kind", [CannotStart, ConfigError, StoreError])
def test_what_no_client_is_told_of(kind: type[EdgecacheError]) -> None:
    assert not issubclass(kind, ClientError | UpstreamError)
    assert kind.status == HTTPStatus.INTERNAL_SERVER_ERROR


def test_a_hint_is_no_part_of_the_message() -> None:
    error = UpstreamDenied("the origin refused", hint="check secret_key")
    assert (str(error), error.message, error.hint) == (
        "the origin refused",
        "the origin refused",
        "check secret_key",
    )
    assert error.forward_status == 0


def test_what_else_they_carry() -> None:
    assert RangeNotSatisfiable(10).complete_length == 10
    assert re.search("10", RangeNotSatisfiable(10).message)
    assert UpstreamBusy("busy").retry_after == 1
    assert UpstreamBusy("busy", retry_after=9, hint="h").retry_after == 9


@pytest.mark.parametrize(("seconds", "retry_after"), [(0.0, 1), (0.2, 1), (4.2, 5), (7.0, 7)])
def test_who_was_not_asked_for_is_told_whole_seconds(seconds: float, retry_after: int) -> None:
    error = NotAsked("not now", detail="breaker-open", retry_after=seconds)
    assert (error.status, error.retry_after) == (503, retry_after)
    assert error.detail == "breaker-open"
    assert isinstance(Unwanted(), NotAsked)  # so it is not repeated, and no failure of the origin's
