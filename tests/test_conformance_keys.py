"""From every spelling of a URL to the right object, and to no other. The origin checks that the
signature is made over the bytes on the wire, and takes a key apart by itself."""

from urllib.parse import quote

import pytest

from tests import serving
from tests.serving import Serve, Site

serve = serving.serve_exactly
site = serving.site

KEYS = [
    "outputs/plain.png",
    "outputs/with space.png",
    "outputs/plus+plus.png",
    "outputs/hash#tag.png",
    "outputs/run=5/a=b.png",
    "outputs/(1) [2] {3}.png",
    "outputs/100%.png",
    "outputs/%41.png",
    "outputs/%2e%2e%2fx.png",
    "outputs/a?b&c=d.png",
    "outputs/käse/日本語/🎬.mp4",
    "outputs/e\u0301.png",
    "outputs/~!$&'()*,;:@-._.png",
    'outputs/"quoted"<>^`|.png',
    "outputs/...png",
    "outputs/.hidden",
    "outputs/..a/a..",
    "outputs/api/media/s3/x.png",
]
LONG_KEY = "outputs/" + "/".join("x" * 200 for _ in range(5)) + "/" + "y" * 10


def spellings(key: str, bucket: str) -> list[str]:
    path, segment = quote(key, safe="/"), quote(key, safe="")
    return [
        f"/{path}",
        f"/{segment}",
        f"/{bucket}/{path}",
        f"/api/media/s3/{segment}",
        f"/api/images/s3/{segment}",
        f"/api/videos/s3/{path}",
        f"/api/media/s3/{quote(f'/runpod-volume/{key}', safe='')}",
        f"/api/media/s3/{quote(f'/workspace/{key}', safe='')}",
        f"/api/media/s3/workspace/{path}",
        "/" + "".join(f"%{byte:02x}" for byte in key.encode()),
        "/" + path.replace("/", "%2f"),
        f"/{path}?w=640&q=75",
        f"/{path}?",
    ]


@pytest.mark.parametrize("key", [*KEYS, pytest.param(LONG_KEY, id="1024-bytes")])
async def test_every_spelling_reaches_the_object(site: Site, key: str) -> None:
    site.origin.put(key, key.encode())
    targets = spellings(key, site.origin.bucket)
    first = await site.get(targets[0])
    assert (first.status, first.body) == (200, key.encode())
    await site.idle()
    for target in targets:
        reply = await site.get(target)
        assert (reply.status, reply.body) == (200, key.encode()), target
        assert reply.cache_status.startswith("edgecache; hit"), target
    assert [request.key for request in site.origin.requests] == [key]


@pytest.mark.parametrize("form", range(11))
async def test_each_spelling_alone_is_signed_right(site: Site, form: int) -> None:
    for key in KEYS:
        site.origin.put(key, key.encode())
        reply = await site.get(spellings(key, site.origin.bucket)[form])
        assert (reply.status, reply.body) == (200, key.encode()), key


@pytest.mark.parametrize("path_safe", ["", "=", "!$&'()*+,;:=@"])
async def test_the_spelling_upstream_is_a_setting(serve: Serve, path_safe: str) -> None:
    """RunPod: the gateway seems not to decode every escape."""
    key = "outputs/run=5/a+b.png"
    async with serve(origin={"path_safe": path_safe}) as site:
        site.origin.put(key, b"x")
        assert (await site.get(f"/{quote(key)}")).body == b"x"
        (request,) = site.origin.requests
    assert request.raw_path.endswith(quote(key, safe=f"/{path_safe}"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("outputs/a+b.png", "outputs/a b.png"),
        ("outputs/A.png", "outputs/a.png"),
        ("outputs/%41.png", "outputs/A.png"),
        ("outputs/\u00e9.png", "outputs/e\u0301.png"),
        ("outputs/a?x.png", "outputs/a"),
        ("outputs/a;x.png", "outputs/a"),
    ],
)
async def test_keys_that_look_alike_are_two_objects(site: Site, one: str, other: str) -> None:
    site.origin.put(one, b"one")
    site.origin.put(other, b"other")
    for _ in range(2):
        assert (await site.get(f"/{quote(one)}")).body == b"one"
        assert (await site.get(f"/{quote(other)}")).body == b"other"


async def test_the_query_is_no_part_of_the_cache_key(site: Site) -> None:
    site.origin.put("outputs/a.png", b"x")
    for width in (320, 640, 1024):
        assert (await site.get(f"/outputs/a.png?w={width}&q=75&url=%2f..%2f")).body == b"x"
    assert [request.raw_path for request in site.origin.requests] == [
        f"/{site.origin.bucket}/outputs/a.png"
    ]


SUBRESOURCES = [
    "acl",
    "policy",
    "uploads",
    "uploadId=x&partNumber=1",
    "list-type=2&prefix=",
    "delete",
    "tagging",
    "versionId=3",
    "versions",
    "location",
    "cors",
    "torrent",
    "response-content-type=text/html",
    "response-content-disposition=attachment",
    "X-Amz-Signature=0&X-Amz-Credential=x",
    "x-id=DeleteObject",
    "prefix=/&delimiter=/",
]


@pytest.mark.parametrize("query", SUBRESOURCES)
@pytest.mark.parametrize("range_", [None, "bytes=0-0"])
async def test_subresources_never_go_upstream(site: Site, query: str, range_: str | None) -> None:
    site.origin.put("outputs/a.html", b"x", headers={"Content-Type": "text/x-own"})
    reply = await site.get(f"/outputs/a.html?{query}", {"Range": range_} if range_ else {})
    assert (reply.body, reply.content_type) == (b"x", "text/x-own")
    assert "?" not in "".join(request.raw_path for request in site.origin.requests)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//",
        "/outputs/",
        "/outputs//a.png",
        "//outputs/a.png",
        "/outputs/../a.png",
        "/outputs/..",
        "/outputs/./a.png",
        "/..",
        "/../outputs/a.png",
        "/%2e%2e/outputs/a.png",
        "/outputs/%2e%2e/a.png",
        "/outputs/%2E%2E%2Fa.png",
        "/outputs/.%2e/a.png",
        "/outputs%2f..%2f..%2fetc%2fpasswd",
        "/outputs%2f%2fa.png",
        "/outputs/..%5ca.png",
        "/outputs/..\\a.png",
        "/outputs/%5c..%5ca.png",
        "/outputs/a%00.png",
        "/outputs/%00",
        "/outputs/a%0a.png",
        "/outputs/a%0d%0aSet-Cookie:x.png",
        "/outputs/a%1b[31m.png",
        "/outputs/a%7f.png",
        "/outputs/a%c2%85.png",
        "/outputs/a%e2%80%a8.png",
        "/outputs/%c0%ae%c0%ae/a.png",
        "/outputs/%c0%afa.png",
        "/outputs/%e0%80%af.png",
        "/outputs/%f0%80%80%af.png",
        "/outputs/%ed%a0%80.png",
        "/outputs/%ff.png",
        "/outputs/%u002e%u002e/a.png",
        "/outputs/%",
        "/outputs/%4",
        "/outputs/%zz.png",
        "/outputs/a#b",
        "/outputs/.s3compat_uploads/x",
        "/.s3compat_uploads/outputs/x",
        "/outputs/%2es3compat_uploads/x",
        "/api/media/s3/",
        "/api/media/s3/outputs%2f..%2fmodels%2fx",
        "/api/media/s3/%2frunpod-volume%2f..%2foutputs%2fx",
        "/api/media/s3/%2frunpod-volume%2f%2foutputs%2fx",
        f"/outputs/{'x' * 256}",
        "/outputs/" + "/".join("x" * 200 for _ in range(6)),
        "/outputs/" + "%41" * 1400,
    ],
    ids=lambda target: target[:40],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_no_key_is_refused(serve: Serve, target: str, method: str) -> None:
    async with serve(access={"public": [""]}) as site:
        for headers in ({}, {"Range": "bytes=0-"}):
            reply = await site.request(method, target, headers)
            assert reply.status == 400
            assert len(reply.body) < 120
            assert reply.headers["Cache-Control"] == "no-store"
        assert site.origin.requests == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/models/secret.bin", 403),
        ("/outputs", 403),
        ("/outputs-old/a.png", 403),
        ("/Outputs/a.png", 403),
        ("/%6fther/outputs/a.png", 403),
        ("/api/media/s3/models%2fsecret.bin", 403),
        ("/api/media/s4/outputs/a.png", 403),
        ("/runpod-volume/outputs/a.png", 403),
        ("/other-bucket/outputs/a.png", 403),
        ("/%6futputs/a.png", 404),
    ],
)
async def test_only_the_public_prefixes_are_served(site: Site, target: str, status: int) -> None:
    for key in ("models/secret.bin", "other/outputs/a.png", "outputs", "outputs-old/a.png"):
        site.origin.put(key, b"secret")
    for method in ("GET", "HEAD"):
        assert (await site.request(method, target)).status == status
    assert site.origin.requests == [] or status == 404


async def test_a_bucket_of_another_origin_has_its_own_keys(site: Site) -> None:
    """The bucket's name as a folder: what is asked for by path style is exact."""
    bucket = site.origin.bucket
    site.origin.put("outputs/a.png", b"right")
    site.origin.put(f"outputs/{bucket}/a.png", b"other")
    assert (await site.get(f"/{bucket}/outputs/a.png")).body == b"right"
    assert (await site.get(f"/outputs/{bucket}/a.png")).body == b"other"
    assert (await site.get(f"/{bucket}/models/a.png")).status == 403
