"""What there is to warm, by each way to say it."""

from pathlib import Path

import pytest

from edgecache.cli.warm_drive import Item
from edgecache.cli.warm_items import from_keys, from_log, from_prefix, given, origin_of
from edgecache.config import Config
from edgecache.core.errors import ConfigError, EdgecacheError
from tests.conftest import Moto

ORIGIN = {"endpoint": "http://127.0.0.1:1", "bucket": "volume"}
CONFIG = Config.model_validate(
    {
        "origins": {"one": ORIGIN, "two": ORIGIN | {"bucket": "other"}},
        "routes": [{"path": "/", "origin": "one"}, {"path": "/outputs/", "origin": "two"}],
        "cache": {"slice_size": 2**16},
    }
)
LOG = """\
1.2.3.4 - - [x] "GET /a.png HTTP/1.1" 200 70000 "-" "-"
1.2.3.4 - - [x] "GET /other/b.png HTTP/1.1" 200 10 "-" "-"
1.2.3.4 - - [x] "GET /other/b.png HTTP/1.1" 304 - "-" "-"
1.2.3.4 - - [x] "GET /c.mp4 HTTP/1.1" 206 10 "-" "-"
1.2.3.4 - - [x] "POST /c.mp4 HTTP/1.1" 405 10 "-" "-"
"""
NOTES = ["1 lines tell of nothing to warm"]


def test_keys_and_a_file_of_them(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"b c\r\n\nd\n#e\xff")
    items = from_keys(["a"], path, "one")
    assert items == [Item(key, "one") for key in ("a", "b c", "d", "#e\udcff")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgecacheError, match="No such file"):
        from_keys([], tmp_path / "none", None)


def test_a_log_names_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LOG)
    items, notes = from_log(path, CONFIG, whole=False, by="requests", most=None)
    assert items == [Item("b.png", "two", "bytes=0-65535"), Item("a.png", None, "bytes=0-131071")]
    assert notes[0] == NOTES[0]
    assert "--whole" in notes[1]


def test_of_a_log_the_objects_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LOG)
    items, notes = from_log(path, CONFIG, whole=True, by="bytes", most=2)
    assert items == [Item("a.png"), Item("b.png", "two")]
    assert notes == NOTES


def test_the_route_of_a_prefix_says_which_origin() -> None:
    assert origin_of("outputs/2026/", CONFIG, None) == "two"
    assert origin_of("", CONFIG, None) == "one"
    assert origin_of("outputs/", CONFIG, "one") == "one"
    with pytest.raises(ConfigError, match="there are one, two"):
        origin_of("", CONFIG, "three")
    assert origin_of("a", Config.model_validate({"origins": {"only": ORIGIN}}), None) == "only"


async def test_a_prefix_is_listed(moto: Moto) -> None:
    moto.put("outputs/a.png", b"x")
    names = ("endpoint", "bucket", "access_key", "secret_key")
    config = Config.model_validate(
        {"origins": {"only": {name: getattr(moto, name) for name in names}}}
    )
    items = [item async for item in from_prefix("outputs/", config, "only")]
    assert items == [Item("outputs/a.png", "only")]
    assert [item async for item in given(items)] == items
