"""`edgecache verify` with a server running and without one: what is damaged is told, and goes."""

import asyncio
import errno
import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from edgecache.cli import app
from edgecache.core.model import ObjectKey
from edgecache.store import verifying
from edgecache.store.disk import DiskStore
from tests import serving
from tests.pattern import Pattern
from tests.serving import SLICE, Serve, Site
from tests.slices import slice_files, sliced

serve = serving.serve_exactly
on_disk = pytest.mark.parametrize("serve", ["disk", "workers"], indirect=True)

KEY = "outputs/clip.mp4"
CLIP = Pattern(3 * SLICE, seed=1)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "SETTLED", 0.1)


def config_of(site: Site, folder: Path) -> Path:
    settings = {
        "admin": {"port": int(site.server.admin_url.rpartition(":")[2])},
        "origins": {"volume": site.origin.settings},
        "cache": {"dir": str(cache_of(site)), "slice_size": SLICE},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def cache_of(site: Site) -> Path:
    return site.server.config.cache.dir


async def verify(config: Path, *options: str) -> Result:
    command = ["verify", "--config", str(config), *options]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command))


async def fill(site: Site) -> None:
    site.origin.put(KEY, CLIP, etag="one")
    assert (await site.get(f"/{KEY}")).body == CLIP.read()
    await site.idle()


def harm(site: Site, number: int = 1) -> Path:
    path = next(path for path in slice_files(cache_of(site)) if path.name.endswith(f"-{number}"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


@on_disk
async def test_all_is_well(serve: Serve, tmp_path: Path) -> None:
    async with serve() as site:
        await fill(site)
        result = await verify(config_of(site, tmp_path))
        assert result.exit_code == 0, result.output
        assert "        3 slices are right\n" in result.output
        assert "        0 damaged" in result.output
        assert "/s\n" in result.output


@on_disk
async def test_damage_is_named_and_left(serve: Serve, tmp_path: Path) -> None:
    async with serve() as site:
        await fill(site)
        path = harm(site)
        config = config_of(site, tmp_path)
        result = await verify(config)
        assert result.exit_code == 1
        assert f"damaged: {KEY}, slice 1: its checksum or number is another\n" in result.output
        result = await verify(config, "--json")
        assert result.exit_code == 1
        facts = json.loads(result.stdout)
        assert {name: facts[name] for name in ("ok", "damaged", "removed")} == {
            "ok": 2,
            "damaged": 1,
            "removed": 0,
        }
        assert facts["bytes_per_second"] > 0
        assert facts["damage"] == [
            {
                "key": KEY,
                "origin": "volume",
                "slice": 1,
                "why": "its checksum or number is another",
                "file": str(path.relative_to(cache_of(site))),
                "removed": False,
            }
        ]


@on_disk
async def test_a_running_server_removes_it_and_serves_none_of_it(
    serve: Serve, tmp_path: Path
) -> None:
    """It had the slice open and verified, before it was damaged."""
    async with serve() as site:
        await fill(site)
        assert (await site.get(f"/{KEY}")).body == CLIP.read()
        harm(site)
        result = await verify(config_of(site, tmp_path), "--repair")
        assert result.exit_code == 0, result.output
        assert "is another: removed\n" in result.output
        assert "1 damaged, 1 of them removed" in result.output
        assert (await site.get(f"/{KEY}")).body == CLIP.read()
        await site.idle()
        result = await verify(config_of(site, tmp_path))
        assert result.exit_code == 0
        assert "        3 slices are right\n" in result.output


@pytest.mark.parametrize("serve", ["disk"], indirect=True)
async def test_without_a_server_it_is_unlinked(serve: Serve, tmp_path: Path) -> None:
    async with serve() as site:
        await fill(site)
        config = config_of(site, tmp_path)
        await site.server.close()
        path = harm(site)
        assert (await verify(config)).exit_code == 1
        assert path.exists()
        assert (await verify(config, "--repair")).exit_code == 0
        assert not path.exists()
        assert (await verify(config)).exit_code == 0
        await site.restart()
        site.origin.reset()
        assert (await site.get(f"/{KEY}")).body == CLIP.read()
        assert [dict(request.headers)["range"] for request in site.origin.requests] == [
            f"bytes={SLICE}-{2 * SLICE - 1}"
        ]


@pytest.mark.parametrize("serve", ["disk"], indirect=True)
async def test_what_nobody_can_name_is_left_to_the_server(serve: Serve, tmp_path: Path) -> None:
    async with serve() as site:
        await fill(site)
        path = harm(site)
        path.write_bytes(b"")
        config = config_of(site, tmp_path)
        assert await site.server.store.remove_meta(ObjectKey("volume", KEY))
        result = await verify(config, "--repair")
        assert result.exit_code == 1
        assert "damaged: unknown object, file v2-" in result.output


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    origin = {"endpoint": "https://s3.example", "bucket": "b"}
    settings = {"origins": {"volume": origin}, "cache": {"dir": str(tmp_path / "none")}}
    config.write_text(yaml.safe_dump(settings), "utf-8")
    result = CliRunner().invoke(app, ["verify", "--config", str(config), "--repair"])
    assert result.exit_code == 1
    assert "edgecache: there is no cache folder" in result.output
    assert "hint: cache.dir" in result.output
    assert not (tmp_path / "none").exists()


def test_a_wrong_config(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("cache: {size: 1}", "utf-8")
    assert CliRunner().invoke(app, ["verify", "--config", str(config)]).exit_code == 2


@pytest.fixture
async def damaged(tmp_path: Path) -> Path:
    """The config of a folder without a server, whose three slices are all damaged."""
    cache = tmp_path / "cache"
    store = DiskStore(cache, limit=2**26, slice_size=SLICE)
    await store.start()
    clip = sliced(length=3 * SLICE)
    for number in range(3):
        assert await store.put(clip.key(number), clip.meta, clip.data(number))
    assert await store.save_meta(clip.meta)
    await store.close()
    for path in slice_files(cache):
        path.write_bytes(b"")
    config = tmp_path / "config.yaml"
    settings = {
        "origins": {"runpod": {"endpoint": "https://s3.example", "bucket": "b"}},
        "cache": {"dir": str(cache), "slice_size": SLICE},
    }
    config.write_text(yaml.safe_dump(settings), "utf-8")
    return config


async def test_so_many_are_named(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["edgecache.cli.verify"], "MOST_NAMED", 1)
    output = (await verify(damaged)).output
    assert output.count(f"damaged: {KEY}, slice ") == 1
    assert "damaged: and 2 more\n" in output
    assert "        3 damaged" in output


async def test_a_folder_that_cannot_be_changed(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        result = await verify(damaged, "--repair")
    assert result.exit_code == 1
    assert "edgecache: a slice cannot be removed: Read-only file system\n" in result.output
    (damaged.parent / "cache" / "lock").unlink()
    (damaged.parent / "cache" / "lock").mkdir()
    result = await verify(damaged, "--repair")
    assert (result.exit_code, result.output) == (
        1,
        "edgecache: the cache folder cannot be locked: Is a directory\n",
    )


async def test_a_bar_where_somebody_sees_it(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = await verify(damaged)
    assert "Verifying" in result.stderr
    assert "Verifying" not in result.stdout
    monkeypatch.delenv("FORCE_COLOR")
    assert (await verify(damaged)).stderr == ""
