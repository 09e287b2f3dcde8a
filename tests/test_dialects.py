"""Stores other than RunPod, read through the same door: how a bucket is addressed, whose keys sign,
what a measured store is not asked."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.core.model import ObjectKey
from edgecache.core.ranges import IntRange, RangeSpec, SuffixRange
from edgecache.core.reply import Found
from edgecache.listing import list_keys
from edgecache.upstream import S3Upstream
from tests.asking import read
from tests.conftest import Moto
from tests.runpod import RunPodOrigin

KEY = ObjectKey("media", "outputs/a b=c.png")


@asynccontextmanager
async def opened(origin: Origin) -> AsyncIterator[S3Upstream]:
    upstream = S3Upstream(origin, Fetch(), clock=time.time)
    yield upstream
    await upstream.close()


async def bytes_of(origin: Origin, range_: RangeSpec | None = None) -> bytes:
    async with opened(origin) as upstream:
        found, body = await upstream.get(KEY, range_)
        assert isinstance(found, Found)
        return await read(body)


def settings(moto: Moto, host: str = "127.0.0.1", **others: Any) -> Origin:
    port = moto.endpoint.rpartition(":")[2]
    return Origin.model_validate(
        {
            "endpoint": f"http://{host}:{port}",
            "bucket": moto.bucket,
            "access_key": moto.access_key,
            "secret_key": moto.secret_key,
        }
        | others
    )


@pytest.mark.parametrize("addressing", ["path", "virtual"])
async def test_both_ways_to_address_a_bucket(moto: Moto, hosts: list[str], addressing: str) -> None:
    """Under a name moto takes the bucket from the host alone, so the two can't be mixed up."""
    moto.put(KEY.key, b"0123456789")
    host = "s3.test" if addressing == "virtual" else "127.0.0.1"
    origin = settings(moto, host, addressing=addressing)
    assert await bytes_of(origin) == b"0123456789"
    assert await bytes_of(origin, IntRange(2, 4)) == b"234"
    assert [key async for key in list_keys(origin, Fetch(), "outputs/")] == [KEY.key]
    assert set(hosts) == ({"media.s3.test"} if addressing == "virtual" else set())


async def test_temporary_keys_and_those_of_the_environment(
    moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto.put(KEY.key, b"0123456789")
    assert await bytes_of(settings(moto, session_token="token")) == b"0123456789"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    found = settings(moto, access_key="", secret_key="", credentials="aws")
    assert await bytes_of(found) == b"0123456789"
    assert [key async for key in list_keys(found, Fetch(), "")] == [KEY.key]


async def test_a_public_bucket_is_read_without_keys(moto: Moto) -> None:
    moto.put(KEY.key, b"0123456789")
    moto.client.put_object_acl(Bucket=moto.bucket, Key=KEY.key, ACL="public-read")  # type: ignore[attr-defined]
    moto.client.put_bucket_acl(Bucket=moto.bucket, ACL="public-read")  # type: ignore[attr-defined]
    anonymous = settings(moto, access_key="", secret_key="")
    assert await bytes_of(anonymous) == b"0123456789"
    assert [key async for key in list_keys(anonymous, Fetch(), "")] == [KEY.key]


# A store that was measured


def measured(runpod: RunPodOrigin, folder: Path, **quirks: Any) -> Origin:
    path = folder / "quirks.json"
    profile = {
        "edgecache_quirks": 1,
        "endpoint": runpod.endpoint,
        "bucket": runpod.bucket,
        "measured": "2026-11-23T01:02:03Z",
        "quirks": quirks,
    }
    path.write_text(json.dumps(profile))
    return Origin.model_validate(runpod.settings | {"quirks": str(path)})


async def test_conditions_that_a_store_cannot_take_are_not_sent(
    runpod: RunPodOrigin, tmp_path: Path
) -> None:
    runpod.put(KEY.key, b"0123456789", etag="a")
    async with opened(measured(runpod, tmp_path, if_match=False, if_none_match=False)) as upstream:
        found, body = await upstream.get(KEY, None, if_match='"b"', if_none_match='"a"')
        assert isinstance(found, Found)
        assert await read(body) == b"0123456789"
    names = runpod.requests[0].header_names
    assert not {"if-match", "if-none-match"} & set(names)


async def test_a_range_from_the_end_that_a_store_cannot_take_is_found_in_the_whole(
    runpod: RunPodOrigin, tmp_path: Path
) -> None:
    runpod.put(KEY.key, b"0123456789")
    async with opened(measured(runpod, tmp_path, suffix_range=False)) as upstream:
        found, body = await upstream.get(KEY, SuffixRange(3))
        assert isinstance(found, Found)
        assert (found.status, await read(body)) == (200, b"0123456789")
    assert runpod.asked(KEY.key) == [None]


async def test_characters_that_a_store_wants_unescaped(
    runpod: RunPodOrigin, tmp_path: Path
) -> None:
    runpod.quirks.undecoded = "="
    runpod.put(KEY.key, b"0123456789")
    assert await bytes_of(measured(runpod, tmp_path, path_safe="=")) == b"0123456789"
