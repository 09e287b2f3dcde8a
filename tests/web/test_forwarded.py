"""X-Forwarded-*: read from the right, believed of trusted proxies only."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from edgecache.web.forwarded import Networks, forwarded

TRUSTED = Networks(["10.0.0.0/8", "2001:db8:ffff::/48"])
CLIENT = "203.0.113.7"


def asked(*pairs: tuple[str, str]) -> tuple[str, str]:
    """What is made of these fields when the proxy 10.0.0.1 sends them."""
    headers = CIMultiDictProxy(CIMultiDict(pairs))
    return forwarded(headers, "10.0.0.1", "http", TRUSTED)


field = st.text(st.characters(min_codepoint=32, max_codepoint=0xDCFF, exclude_characters="\x7f"))


@given(
    left=st.lists(field, max_size=3), proxies=st.sampled_from([[], ["10.0.0.2"], ["10.1.2.3"] * 2])
)
@example(left=["192.0.2.66, 10.0.0.9"], proxies=["10.0.0.2"])
@example(left=["10.0.0.1"], proxies=[])
def test_what_a_client_writes_left_of_the_proxies_part_never_matters(
    left: list[str], proxies: list[str]
) -> None:
    """Be it in the same field, or in fields before it."""
    part = ", ".join([CLIENT, *proxies])
    name = "X-Forwarded-For"
    separate = [*((name, text) for text in left), (name, part)]
    assert asked(*separate)[0] == CLIENT
    assert asked((name, ", ".join([*left, part])))[0] == CLIENT


@given(left=st.lists(field, max_size=3))
def test_nor_do_schemes_that_a_client_writes(left: list[str]) -> None:
    name = "X-Forwarded-Proto"
    assert asked(*((name, text) for text in left), (name, "https"))[1] == "https"
    assert asked((name, ", ".join([*left, "https"])))[1] == "https"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("192.0.2.1, 2001:db8:ffff::5", "192.0.2.1"),
        ("10.0.0.7", "10.0.0.7"),  # one of ours asks by itself
        ("unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("192.0.2.1, _hidden, 10.0.0.2", "10.0.0.2"),  # the last that is known
    ],
)
def test_addresses(value: str, client: str) -> None:
    assert asked(("X-Forwarded-For", value))[0] == client


def test_without_fields_the_proxy_is_the_client() -> None:
    assert asked() == ("10.0.0.1", "http")


@pytest.mark.parametrize("said", ["ftp", "", "HTTPS;"])
def test_a_scheme_that_is_none(said: str) -> None:
    assert asked(("X-Forwarded-Proto", said))[1] == "http"


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),  # as a socket for both families has it
        ("2001:db8:ffff::9%eth0", True),
        ("10.0.0.1.example", False),
        ("", False),
    ],
)
def test_networks(address: str, there: bool) -> None:
    assert (address in TRUSTED) is there
    assert address not in Networks([])
