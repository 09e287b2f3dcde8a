"""boto3, path style and unsigned, reading through edgecache as it would read the bucket."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Moto
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.serving import Edgecache
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20


def unsigned(url: str) -> Any:
    import boto3  # here, as in tests/conftest.py
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        signature_version=UNSIGNED,
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
    )
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)


@pytest.fixture
def client(edge: Edgecache) -> Iterator[Any]:
    client = unsigned(edge.url)
    yield client
    client.close()


def test_get_object_gives_the_bytes_and_what_is_known_of_them(
    client: Any, origin: OriginThread
) -> None:
    data = Pattern(2 * MIB + 7, seed=6).read()
    stored = origin.origin.put("outputs/boto/a b+c.webp", data)
    got = client.get_object(Bucket=origin.origin.bucket, Key="outputs/boto/a b+c.webp")
    assert got["Body"].read() == data
    assert got["ContentLength"] == len(data)
    assert got["ContentType"] == "image/webp"
    assert got["ETag"] == f'"{stored.etag}"'
    assert got["LastModified"].timestamp() == stored.last_modified


def test_get_object_gives_a_range(client: Any, origin: OriginThread) -> None:
    movie = Pattern(5 * MIB, seed=7)
    origin.put("outputs/boto/ranged.mp4", movie)
    got = client.get_object(
        Bucket=origin.origin.bucket, Key="outputs/boto/ranged.mp4", Range="bytes=3000000-3000099"
    )
    assert got["Body"].read() == movie.read(3_000_000, 3_000_100)
    assert got["ContentRange"] == f"bytes 3000000-3000099/{5 * MIB}"
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_head_object_works_where_the_store_refuses_it(client: Any, origin: OriginThread) -> None:
    stored = origin.origin.put("outputs/boto/head.mp4", b"0123456789")
    got = client.head_object(Bucket=origin.origin.bucket, Key="outputs/boto/head.mp4")
    assert (got["ContentLength"], got["ETag"]) == (10, f'"{stored.etag}"')
    assert got["AcceptRanges"] == "bytes"


def test_a_condition_that_holds_is_not_modified(client: Any, origin: OriginThread) -> None:
    from botocore.exceptions import ClientError

    stored = origin.origin.put("outputs/boto/same.png", b"0123456789")
    where = {"Bucket": origin.origin.bucket, "Key": "outputs/boto/same.png"}
    with pytest.raises(ClientError) as not_modified:
        client.get_object(**where, IfNoneMatch=f'"{stored.etag}"')
    assert not_modified.value.response["Error"]["Code"] == "304"
    with pytest.raises(ClientError) as failed:
        client.get_object(**where, IfMatch='"another"')
    assert failed.value.response["Error"]["Code"] == "412"


@pytest.mark.parametrize("call", ["get_object", "head_object"])
def test_a_missing_key_is_an_error_404(client: Any, origin: OriginThread, call: str) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as missing:
        getattr(client, call)(Bucket=origin.origin.bucket, Key="outputs/boto/missing.png")
    assert missing.value.response["Error"]["Code"] == "404"
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_parallel_download_does_not_buy_for_each_part(
    client: Any, edge: Edgecache, origin: OriginThread
) -> None:
    """boto3's transfer manager: a HEAD, then ranged GETs in several threads, with If-Match."""
    from boto3.s3.transfer import TransferConfig

    movie = Pattern(20 * MIB + 3, seed=8)
    origin.put("outputs/boto/parallel.mp4", movie)
    parallel = TransferConfig(
        multipart_threshold=MIB, multipart_chunksize=3_000_000, max_concurrency=8
    )
    data = io.BytesIO()
    client.download_fileobj(
        origin.origin.bucket, "outputs/boto/parallel.mp4", data, Config=parallel
    )
    assert data.getvalue() == movie.read()
    edge.idle()
    # The HEAD asked for a byte. Where the machine is too busy to bring a slice soon, who waits for
    # it asks for it, too.
    assert len(movie) + 1 <= origin.sent("outputs/boto/parallel.mp4") <= 1.3 * len(movie)


def test_another_store_is_read_as_through_its_own_port(moto_edge: Edgecache, moto: Moto) -> None:
    moto.put("outputs/boto/moto.png", b"0123456789", "image/png")
    client = unsigned(moto_edge.url)
    where = {"Bucket": moto.bucket, "Key": "outputs/boto/moto.png"}
    through, direct = client.get_object(**where), moto.client.get_object(**where)  # type: ignore[attr-defined]
    assert through["Body"].read() == direct["Body"].read() == b"0123456789"
    same = ("ContentLength", "ContentType", "ETag", "LastModified")
    assert [through[name] for name in same] == [direct[name] for name in same]
    client.close()
