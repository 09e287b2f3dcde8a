"""The section `fetch`: its defaults fit the origin, and what makes no sense is refused."""

import pytest
from pydantic import ValidationError

from edgecache.config_fetch import Fetch


def test_the_first_byte_is_waited_for_as_long_as_the_gateway_does() -> None:
    """Cloudflare gives up between 100 and 120 seconds: shorter, and slow successes are lost."""
    assert 100 <= Fetch().first_byte_timeout <= 120


@pytest.mark.parametrize("name", ["retry_share", "hedge_share", "waste"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_part_is_between_nothing_and_all(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        Fetch.model_validate({name: value})


def test_the_longest_run_is_the_longest() -> None:
    with pytest.raises(ValidationError, match="less than"):
        Fetch(first_run=2**21, image_run=2**20, max_run=2**20)
