"""The origin double is what other tests trust, so what it claims to be is proved here."""

import asyncio
import time
from dataclasses import fields, replace
from hashlib import md5, sha256

import aiohttp
import boto3
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from edgecache.config import Origin
from tests.pattern import Pattern
from tests.runpod import Quirks, RunPodOrigin
from tests.s3client import SigningClient

KEY = "outputs/clip.mp4"
DATA = bytes(range(256)) * 40
ETAG = f'"{md5(DATA).hexdigest()}"'
OTHER_ETAG = f'"{md5(b"other").hexdigest()}"'
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"  # 1_700_000_000
SECOND_BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"


@pytest.fixture
def client(s3client: SigningClient) -> SigningClient:
    s3client.origin.put(KEY, DATA, last_modified=1_700_000_000)
    return s3client


# Honest


async def test_a_get_has_everything_that_s3_sends(client: SigningClient) -> None:
    client.origin.put("a.jpg", b"x", headers={"Content-Type": "image/jpeg", "X-Own": "yes"})
    got = await client.send("a.jpg")
    assert (got.status, got.body) == (200, b"x")
    assert got.headers["ETag"] == f'"{md5(b"x").hexdigest()}"'
    assert got.headers["Last-Modified"].endswith(" GMT")
    assert got.headers["Date"].endswith(" GMT")
    assert got.headers["Accept-Ranges"] == "bytes"
    assert got.headers["Content-Length"] == "1"
    assert got.headers["Content-Type"] == "image/jpeg"
    assert got.headers["X-Own"] == "yes"


@pytest.mark.parametrize(
    ("range_", "status", "content_range", "start", "stop"),
    [
        ("bytes=0-9", 206, "bytes 0-9/10240", 0, 10),
        ("bytes=5-", 206, "bytes 5-10239/10240", 5, 10240),
        ("bytes=-3", 206, "bytes 10237-10239/10240", 10237, 10240),
        ("bytes=-99999", 206, "bytes 0-10239/10240", 0, 10240),
        ("bytes=10000-99999", 206, "bytes 10000-10239/10240", 10000, 10240),
        ("bytes=9-5", 200, None, 0, 10240),  # RFC 9110 §14.1.1: invalid, so ignored
        ("bytes=0-1,5-6", 200, None, 0, 10240),  # S3 has single ranges only
        ("bytes=-", 200, None, 0, 10240),
        ("lines=0-9", 200, None, 0, 10240),
    ],
)
async def test_range(
    client: SigningClient,
    range_: str,
    status: int,
    content_range: str | None,
    start: int,
    stop: int,
) -> None:
    got = await client.send(KEY, {"Range": range_})
    assert got.status == status
    assert got.headers.get("Content-Range") == content_range
    assert got.body == DATA[start:stop]


@pytest.mark.parametrize(
    ("size", "range_"), [(0, "bytes=0-"), (0, "bytes=-1"), (9, "bytes=9-"), (9, "bytes=-0")]
)
async def test_unsatisfiable_range(client: SigningClient, size: int, range_: str) -> None:
    client.origin.put("small", bytes(size))
    got = await client.send("small", {"Range": range_})
    assert got.status == 416
    assert got.headers["Content-Range"] == f"bytes */{size}"
    assert b"<Code>InvalidRange</Code>" in got.body


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("if-match", ETAG, 206),
        ("if-match", f"W/{ETAG}", 206),
        ("if-match", f"{OTHER_ETAG}, {ETAG}", 206),
        ("if-match", "*", 206),
        ("if-match", OTHER_ETAG, 412),
        ("if-none-match", ETAG, 304),
        ("if-none-match", f"W/{ETAG}", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", OTHER_ETAG, 206),
        ("if-modified-since", DATE, 304),
        ("if-modified-since", DATE.replace("GMT", "UTC"), 304),
        ("if-modified-since", SECOND_BEFORE, 206),
        ("if-modified-since", "yesterday", 206),
    ],
)
async def test_conditionals(client: SigningClient, field: str, value: str, status: int) -> None:
    got = await client.send(KEY, {"Range": "bytes=0-9", field: value})
    assert got.status == status
    assert got.body == {206: DATA[:10], 304: b""}.get(status, got.body)
    assert (b"PreconditionFailed" in got.body) == (status == 412)
    assert (got.headers.get("ETag") == ETAG) == (status != 412)


async def test_if_none_match_wins_over_if_modified_since(client: SigningClient) -> None:
    got = await client.send(KEY, {"If-None-Match": OTHER_ETAG, "If-Modified-Since": DATE})
    assert got.status == 200  # RFC 9110 §13.2.2


async def test_missing_object(client: SigningClient) -> None:
    got = await client.send("outputs/none.mp4")
    assert got.status == 404
    assert b"<Code>NoSuchKey</Code>" in got.body


async def test_head_has_the_head_of_the_get(client: SigningClient) -> None:
    head, get = await client.send(KEY, method="HEAD"), await client.send(KEY)
    assert (head.status, head.body) == (200, b"")
    same = ("Content-Length", "ETag", "Last-Modified", "Content-Type")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]


async def test_put_and_delete(client: SigningClient) -> None:
    put = await client.send("new", {"Content-Type": "text/plain"}, method="PUT", data=b"hello")
    got = await client.send("new")
    assert (put.status, put.headers["ETag"]) == (200, got.headers["ETag"])
    assert (got.body, got.headers["Content-Type"]) == (b"hello", "text/plain")
    assert (await client.send("new", method="DELETE")).status == 204
    assert (await client.send("new")).status == 404


@pytest.mark.parametrize("path", ["", "?list-type=2", "?prefix=outputs%2F"])
async def test_it_never_lists(client: SigningClient, path: str) -> None:
    assert (await client.send(path)).status == 400


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%3Db", "a=b"),
        ("a=b", "a=b"),
        ("%C3%A9/%23", "é/#"),
        ("a%2Fb", "a/b"),
        ("a//b", "a//b"),
        ("a%252Fb", "a%2Fb"),
    ],
)
async def test_keys_are_decoded_once(client: SigningClient, path: str, key: str) -> None:
    client.origin.put(key, b"found")
    assert (await client.send(path)).body == b"found"
    assert client.origin.requests[-1].raw_path == f"/{client.origin.bucket}/{path}"


# Signatures; what is refused, in full, is in test_sigv4.py


async def test_an_unsigned_or_query_signed_request_is_401(client: SigningClient) -> None:
    url, _ = client.sign(KEY, "GET")
    for query in ("", "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=abc"):
        async with client.session.get(f"{url}{query}") as response:
            assert response.status == 401
            assert "missing Authorization header" in await response.text()


async def test_a_wrong_secret_is_403_and_hides_no_fault(client: SigningClient) -> None:
    gate = client.origin.hold()
    wrong = SigningClient(RunPodOrigin(secret_key="rps_wrong"), client.session)
    wrong.origin.port = client.origin.port
    got = await wrong.send(KEY)
    assert got.status == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in got.body
    assert b"<StringToSign>AWS4-HMAC-SHA256" in got.body
    assert not gate.reached.is_set()


@pytest.mark.parametrize(("skew", "status"), [(-3500, 200), (3500, 200), (3700, 403), (-3700, 403)])
async def test_clocks_may_differ_by_an_hour(client: SigningClient, skew: int, status: int) -> None:
    client.origin.now = lambda: time.time() + skew
    assert (await client.send(KEY)).status == status


def test_settings_are_what_the_config_calls_an_origin(runpod: RunPodOrigin) -> None:
    assert Origin(**runpod.settings).endpoint == runpod.endpoint  # type: ignore[arg-type]


# Quirks


def test_every_quirk_but_refuse_signed_is_off() -> None:
    on = [one.name for one in fields(Quirks) if getattr(Quirks(), one.name)]
    assert on == ["refuse_signed"]


async def test_head_of_media_is_forbidden(client: SigningClient) -> None:
    client.origin.quirks.head_forbidden = True
    client.origin.put("a.json", b"{}")
    assert (await client.send(KEY, method="HEAD")).status == 403
    assert (await client.send(KEY)).status == 200
    assert (await client.send("a.json", method="HEAD")).status == 200


async def test_utc_dates(client: SigningClient) -> None:
    client.origin.quirks.utc_dates = True
    got = await client.send(KEY)
    assert got.headers["Last-Modified"] == DATE.replace("GMT", "UTC")
    assert got.headers["Date"].endswith(" UTC")


async def test_weak_etags(client: SigningClient) -> None:
    client.origin.quirks.weak_etags = True
    assert (await client.send(KEY)).headers["ETag"] == f"W/{ETAG}"
    assert (await client.send(KEY, {"If-Match": ETAG})).status == 200


@pytest.mark.parametrize(
    ("quirk", "name"), [("no_etag", "ETag"), ("no_last_modified", "Last-Modified")]
)
async def test_no_validators(client: SigningClient, quirk: str, name: str) -> None:
    setattr(client.origin.quirks, quirk, True)
    for got in (await client.send(KEY), await client.send(KEY, {"If-None-Match": ETAG})):
        assert name not in got.headers


async def test_ignored_conditionals(client: SigningClient) -> None:
    client.origin.quirks.ignore_conditionals = True
    assert (await client.send(KEY, {"If-Match": OTHER_ETAG})).status == 200
    assert (await client.send(KEY, {"If-None-Match": ETAG, "Range": "bytes=0-9"})).status == 206


async def test_ignored_range(client: SigningClient) -> None:
    client.origin.quirks.ignore_range = True
    got = await client.send(KEY, {"Range": "bytes=5-9"})
    assert (got.status, got.body, got.headers.get("Content-Range")) == (200, DATA, None)


async def test_missing_as_400(client: SigningClient) -> None:
    client.origin.quirks.missing_as_400 = True
    got = await client.send("none")
    assert got.status == 400
    assert b"<Code>InvalidArgument</Code><Message>object not found</Message>" in got.body


async def test_cloudflares_fields(client: SigningClient) -> None:
    client.origin.quirks.cloudflare_fields = True
    got = await client.send(KEY)
    assert {"Set-Cookie", "cf-cache-status", "x-amz-request-id"} <= set(got.headers)


async def test_undecoded_escapes(client: SigningClient) -> None:
    client.origin.quirks.undecoded = "="
    client.origin.put("a=b c", b"found")
    assert (await client.send("a%3Db%20c")).status == 404
    assert (await client.send("a=b%20c")).status == 200


async def test_latency_comes_before_the_head(client: SigningClient) -> None:
    client.origin.quirks.latency = 0.02
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.send(KEY)
    assert loop.time() - began >= 0.02


async def test_bandwidth(client: SigningClient) -> None:
    client.origin.quirks.bandwidth = len(DATA) * 20
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await client.send(KEY)).body == DATA
    assert loop.time() - began >= 0.04


async def test_quirks_may_be_limited_to_a_prefix(client: SigningClient) -> None:
    client.origin.quirks = Quirks(only="outputs/", weak_etags=True)
    client.origin.put("inputs/a", b"a")
    assert (await client.send(KEY)).headers["ETag"].startswith("W/")
    assert not (await client.send("inputs/a")).headers["ETag"].startswith("W/")


# The books


async def test_what_is_recorded(client: SigningClient) -> None:
    await client.send(KEY, {"Range": "bytes=0-9", "User-Agent": "me"})
    record = client.origin.requests[0]
    assert replace(record, headers=(), signed=()) == replace(
        record,
        method="GET",
        key=KEY,
        range="bytes=0-9",
        status=206,
        sent=10,
        aborted=False,
        done=True,
        reused=False,
        headers=(),
        signed=(),
    )
    assert record.signed == ("host", "x-amz-content-sha256", "x-amz-date")
    assert {"range", "user-agent", "authorization"} <= set(record.header_names)
    assert record.header("User-Agent") == "me"
    assert (await client.send(KEY)).status == 200
    assert client.origin.requests[1].reused
    assert client.origin.asked(KEY) == ["bytes=0-9", None]
    assert client.origin.body_bytes == 10 + len(DATA)
    client.origin.reset()
    assert (client.origin.requests, client.origin.body_bytes) == ([], 0)


async def test_max_concurrent(client: SigningClient) -> None:
    gate = client.origin.hold(times=None)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(client.send(KEY))
        await client.origin.arrived(5)
        await client.origin.until(lambda: gate.waiting == 5)
        gate.release()
    assert (client.origin.max_concurrent, client.origin.active) == (5, 0)
    client.origin.reset()
    await client.send(KEY)
    assert client.origin.max_concurrent == 1


async def test_a_client_that_leaves_is_an_aborted_request(client: SigningClient) -> None:
    client.origin.put("big", Pattern(2**30))
    async with client.open("big") as response:
        await response.content.readexactly(100_000)
    await client.origin.settled()
    record = client.origin.requests[-1]
    assert record.aborted
    assert 100_000 <= record.sent < 64 * 2**20


async def test_refused_connections_and_the_same_port_again(client: SigningClient) -> None:
    await client.origin.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.send(KEY)
    await client.origin.listen()
    assert (await client.send(KEY)).status == 200


async def test_a_pattern_is_served_as_it_reads(client: SigningClient) -> None:
    pattern = Pattern(5 * 2**20 + 7, seed=3)
    client.origin.put("p", pattern)
    got = await client.send("p")
    assert sha256(got.body).hexdigest() == pattern.digest()
    assert got.body == pattern.read()


# boto3, an S3 client by other authors


def boto_roundtrip(origin: RunPodOrigin) -> tuple[bytes, bytes, str]:
    client = boto3.client(
        "s3",
        endpoint_url=origin.endpoint,
        region_name=origin.region,
        aws_access_key_id=origin.access_key,
        aws_secret_access_key=origin.secret_key,
        config=BotoConfig(retries={"total_max_attempts": 1}),
    )
    try:
        client.put_object(Bucket=origin.bucket, Key="a b/é=+.bin", Body=DATA)
        whole = client.get_object(Bucket=origin.bucket, Key="a b/é=+.bin")["Body"].read()
        arguments = {"Bucket": origin.bucket, "Key": "a b/é=+.bin", "Range": "bytes=1-5"}
        with pytest.raises(ClientError) as refused:  # botocore signs Range
            client.get_object(**arguments)
        origin.quirks.refuse_signed = ()
        part = client.get_object(**arguments)["Body"].read()
        client.delete_object(Bucket=origin.bucket, Key="a b/é=+.bin")
        return whole, part, refused.value.response["Error"]["Code"]
    finally:
        client.close()


async def test_boto3(runpod: RunPodOrigin) -> None:
    whole, part, refused = await asyncio.to_thread(boto_roundtrip, runpod)
    assert (whole, part, refused) == (DATA, DATA[1:6], "SignatureDoesNotMatch")
    assert runpod.objects == {}
