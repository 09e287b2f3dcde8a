"""Which settings a reload leaves as they are, and that it names them."""

from pathlib import Path
from typing import Any

import pytest

from edgecache.config import Config
from edgecache.config_fixed import changed, keep_fixed

ORIGIN = {"endpoint": "http://127.0.0.1:9", "bucket": "b"}


def config(**sections: Any) -> Config:
    return Config(**{"origins": {"main": ORIGIN}, **sections})


TLS = {"cert": "a.pem", "key": "a.key"}


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"listen": {"port": 1}}, "listen.port"),
        ({"listen": {"trusted_proxies": ["192.0.2.1"]}}, "listen.trusted_proxies"),
        ({"listen": {"tls": TLS}}, "listen.tls"),
        ({"cache": {"slice_size": "64KiB"}}, "cache.slice_size"),
        ({"cache": {"dir": "elsewhere"}}, "cache.dir"),
        ({"cache": {"min_free": "2%"}}, "cache.min_free"),
        ({"cache": {"policy": "lru"}}, "cache.policy"),
        ({"admin": {"port": 1}}, "admin.port"),
        ({"log": {"access": "off"}}, "log.access"),
    ],
)
def test_what_is_used_at_the_start_only(sections: dict[str, Any], name: str) -> None:
    old, new = config(), config(**sections, freshness={"ttl": "1m"})
    assert changed(old, new) == [name]
    kept = keep_fixed(old, new)
    assert changed(old, kept) == []
    assert kept.freshness.ttl == 60
    assert kept.model_copy(update={"freshness": old.freshness}) == old


@pytest.mark.parametrize(
    "sections",
    [
        {"access": {"public": ["a/"]}},
        {"cors": {"allow_origins": ["https://a.example"]}},
        {"origins": {"main": ORIGIN | {"bucket": "c"}}},
        {"routes": [{"path": "/a/"}]},
        {"cache": {"hot_size": "1MiB"}},
        {"cache": {"admit": "wear", "max_object": "1GiB"}},
        {"routes": [{"pin": ["a/"]}]},
        {"fetch": {"connections": 3}},
        {"costs": {"host": 1}},
        {"admin": {"token": "another"}},
    ],
)
def test_all_else_is_taken(sections: dict[str, Any]) -> None:
    old, new = config(), config(**sections)
    assert changed(old, new) == []
    assert keep_fixed(old, new) == new


def test_another_certificate_is_taken() -> None:
    old = config(listen={"tls": TLS})
    new = config(listen={"tls": {"cert": "b.pem"}})
    assert changed(old, new) == []
    assert keep_fixed(old, new).listen.tls.cert == Path("b.pem")
