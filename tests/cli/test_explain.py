"""`edgecache explain` beside a running server: aligned words for a person, JSON for a program."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from edgecache.cli import app
from edgecache.cli.explain import as_text
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Site

serve = serving.serve
site = serving.site

KEY = "outputs/clip.mp4"
CLIP = Pattern(3 * SLICE, seed=1)


@pytest.fixture
def config(site: Site, tmp_path: Path) -> Path:
    settings = {
        "admin": {"port": int(site.server.admin_url.rpartition(":")[2])},
        "origins": {"volume": site.origin.settings},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


async def told(config: Path, *arguments: str) -> Result:
    command = ["explain", "--config", str(config), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def text(config: Path, *arguments: str) -> str:
    result = await told(config, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


async def test_a_stored_object(site: Site, config: Path) -> None:
    site.origin.put(KEY, CLIP, etag="one", last_modified=1_700_000_000)
    for _ in range(2):
        await site.get(f"/{KEY}", {"Range": f"bytes={SLICE}-{SLICE + 9}"})
        await site.idle()
    output = await text(config, KEY)
    version = json.loads(await text(config, KEY, "--json"))["response"]["version"]
    assert output == (
        f"{KEY}\n"
        "  access      public, origin volume, route /\n"
        '  now         200, edgecache; fwd=partial; stored; ttl=3600; detail="1/3 slices"\n'
        '  known       197 kB, video/mp4, ETag "one"\n'
        f"  version     {version}, modified 2023-11-14T22:13:20Z\n"
        "  validated   2025-06-15T15:06:40Z\n"
        "  freshness   fresh for 3600 s, age 0 s of 3600 s\n"
        "  lifetime    the origin does not say: routes[].ttl, else freshness.ttl\n"
        "  slices      1 of 3: 1; 66 kB on disk, 66 kB each\n"
        "  popularity  count 3 of its most wanted slice, priority 3\n"
        "  bought      66 kB since 2025-06-15T15:06:40Z\n"
        "  served      20 B in 2 answers, 1 of them hits, last at 2025-06-15T15:06:40Z\n"
        "  purged      not since the start, as far as is remembered\n"
    )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (KEY, ["fwd=uri-miss", "the origin is asked", "nothing known since", "not asked for yet"]),
        ("models/a.bin", ["private", "access.public", "now         403\n"]),
        ("outputs/../a", ["refused: the key has a '..' segment", "now         400\n"]),
    ],
)
async def test_words_for_what_is_not_stored(
    site: Site, config: Path, key: str, words: list[str]
) -> None:
    output = await text(config, key)
    assert [word for word in words if word not in output] == []


async def test_a_missing_object(site: Site, config: Path) -> None:
    await site.get(f"/{KEY}")
    output = await text(config, KEY)
    assert "the origin has no such object; asked again after 2025-06-15T15:06:50Z" in output


async def test_one_that_may_not_be_stored(site: Site, config: Path) -> None:
    site.origin.put(KEY, CLIP, etag="one", headers={"Cache-Control": "no-store"})
    await site.get(f"/{KEY}")
    assert "may not be stored (no-store); passed through until" in await text(config, KEY)


async def test_an_origin_that_is_not_there(site: Site, config: Path) -> None:
    result = await told(config, KEY, "--origin", "other")
    assert (result.exit_code, result.output) == (
        1,
        "edgecache: the server answered 400: there is no such origin; there are: volume\n",
    )


async def test_json_is_what_the_server_says(site: Site, config: Path) -> None:
    facts = json.loads(await text(config, KEY, "--json"))
    assert (facts["key"], facts["known"]) == (KEY, "unknown")


STORED: dict[str, Any] = {
    "key": "outputs/\x1b[2Ja",
    "access": "public",
    "why": "",
    "origin": "volume",
    "route": "/",
    "now": {"status": None, "cache_status": "edgecache; fwd=stale; ttl=-5"},
    "known": "stored",
    "response": {
        "length": 0,
        "content_type": "a/b\x9b",
        "etag": "",
        "version": "0f",
        "tags": ["album-1", "cat"],
        "last_modified": None,
        "validated": "then",
    },
    "freshness": {
        "fresh": False,
        "age": 15.0,
        "lifetime": 10.0,
        "ttl": -5.0,
        "why": "max-age",
        "stale_while_revalidate": 0,
        "stale_if_error": 0,
        "why_not_stale": "",
    },
    "slices": {"present": 0, "of": 10**6, "looked_at": 65536, "numbers": ""},
    "popularity": {
        "slices": 3,
        "count": 7,
        "least_priority": 1.5,
        "most_priority": 20.0,
        "pinned": True,
    },
    "not_admitted": "disk trouble: no space",
    "fills": [{"slices": "0-3", "readers": 2}],
    "account": {"since": "s", "bought": 1, "served": 0, "answers": 0, "hits": 0, "last_use": None},
    "purge": {"time": "t", "by": "prefix", "what": "outputs/", "soft": True},
}


def test_words_for_what_is_rare() -> None:
    output = as_text(STORED)
    for line in (
        "outputs/?[2Ja",
        "  known       0 B, a/b?, ETag none",
        "  version     0f, modified at a time unknown",
        "  tags        album-1, cat",
        "  validated   then",
        "  freshness   stale, age 15 s of 10 s",
        "  lifetime    max-age",
        "  slices      0 of 1000000 (of which the first 65536 were looked at)",
        "  popularity  count 7 of its most wanted slice, priority 1.5 to 20, pinned",
        "  why none    disk trouble: no space",
        "  filling     slices 0-3, for 2 readers",
        "  bought      1 B since s",
        "  served      0 B in 0 answers, 0 of them hits",
        "  purged      t, softly, by prefix outputs/",
    ):
        assert line in output.splitlines()
    assert "stale use" not in output
    assert "all of it" in as_text(STORED | {"purge": STORED["purge"] | {"by": "all", "what": ""}})


@pytest.mark.parametrize(
    ("windows", "line"),
    [
        ((30, 86400, ""), "30 s while it is revalidated, 86400 s if the origin fails"),
        ((0, 90, "purged softly"), "90 s if the origin fails: purged softly"),
        ((5, 0, ""), "5 s while it is revalidated"),
        ((0, 0, "the origin forbids it"), "the origin forbids it"),
    ],
)
def test_words_for_what_is_used_stale(windows: tuple[int, int, str], line: str) -> None:
    names = ("stale_while_revalidate", "stale_if_error", "why_not_stale")
    facts = STORED | {"freshness": STORED["freshness"] | dict(zip(names, windows, strict=True))}
    assert f"  stale use   {line}" in as_text(facts).splitlines()


@pytest.mark.parametrize(
    ("if_error", "words"), [(200, ", 200, stale, if it fails"), (503, ", 503 if it fails")]
)
def test_words_for_what_a_failing_origin_would_mean(if_error: int, words: str) -> None:
    facts = STORED | {"now": STORED["now"] | {"if_error": if_error}}
    line = f"  now         the origin is asked, edgecache; fwd=stale; ttl=-5{words}"
    assert line in as_text(facts).splitlines()
