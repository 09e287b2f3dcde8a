"""Every key is reached through every form of URL, and nothing else is."""

from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.conftest import Moto
from tests.end_to_end.curl import curl
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.serving import Edgecache

pytestmark = pytest.mark.e2e

# Each next to what it would become if it were decoded twice, not at all, or as a form's value.
KEYS = [
    "outputs/plain.png",
    "outputs/a b.png",
    "outputs/a+b.png",
    "outputs/a%20b.png",
    "outputs/a%2520b.png",
    "outputs/a#b.png",
    "outputs/a?b.png",
    "outputs/a&b=c (1).png",
    "outputs/100%.png",
    "outputs/it's;a,b:c@d!$~*.png",
    "outputs/ключ/日本.png",
    "outputs/é.png",
    "outputs/e\u0301.png",  # the same to the eye
    "outputs/sub/2f.png",
    "outputs/sub%2f2f.png",
]
SUB_DELIMS = "/!$&'()*+,;=:@~"  # may stand in a path as they are (RFC 3986 §3.3)
FORMS: dict[str, Callable[[str], str]] = {
    "key": lambda key: f"/{quote(key)}",
    "key, least escaped": lambda key: f"/{quote(key, safe=SUB_DELIMS)}",
    "key, one segment": lambda key: f"/{quote(key, safe='')}",
    "key, lower-case escapes": lambda key: f"/{quote(key, safe='').lower()}",
    "media": lambda key: f"/api/media/s3/{quote(key)}",
    "images, one segment": lambda key: f"/api/images/s3/{quote(key, safe='')}",
    "videos, mount": lambda key: f"/api/videos/s3/runpod-volume/{quote(key)}",
    "media, mount, one segment": lambda key: f"/api/media/s3/{quote('/workspace/' + key, safe='')}",
    "media, query": lambda key: f"/api/media/s3/{quote(key)}?w=640&q=75&acl",
}


def body_of(key: str) -> bytes:
    return f"the bytes of {key}".encode()


@pytest.fixture(scope="module")
def stocked(origin: OriginThread) -> OriginThread:
    for key in KEYS:
        origin.put(key, body_of(key))
    return origin


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_reached_through_every_form(
    edge: Edgecache, stocked: OriginThread, key: str
) -> None:
    paths = {name: form(key) for name, form in FORMS.items()}
    paths["path style"] = f"/{stocked.origin.bucket}/{quote(key)}"
    got = {name: curl("--globoff", edge.url + path) for name, path in paths.items()}
    assert {name: (one.status, one.body) for name, one in got.items()} == dict.fromkeys(
        paths, (200, body_of(key))
    )
    assert len(stocked.asked(key)) == 1  # one object, whatever it is called


def test_every_key_is_reached_on_another_store(moto_edge: Edgecache, moto: Moto) -> None:
    for key in KEYS:
        moto.put(key, body_of(key))
    got = {key: curl("--globoff", f"{moto_edge.url}/{quote(key)}").body for key in KEYS}
    assert got == {key: body_of(key) for key in KEYS}


REFUSED = [
    "/outputs/../models/secret.bin",
    "/outputs/./plain.png",
    "/outputs/%2e%2e/models/secret.bin",
    "/outputs/..%2fmodels/secret.bin",
    "/outputs%2f..%2fmodels%2fsecret.bin",
    "/api/media/s3/outputs/../models/secret.bin",
    "/api/media/s3/%2fworkspace%2foutputs%2f..%2fmodels%2fsecret.bin",
    "/outputs//plain.png",
    "//outputs/plain.png",
    "/outputs/",
    "/outputs/plain.png%00",
    "/outputs/plain.png%0d%0aX: y",
    "/outputs/%c0%af",
    "/outputs/%zz",
    "/outputs/.s3compat_uploads/1",
    f"/outputs/{'x' * 250}/{'y' * 250}/{'z' * 250}/{'w' * 250}/{'v' * 20}",
    "/",
]


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_no_key_is_refused_without_asking_the_origin(
    edge: Edgecache, stocked: OriginThread, path: str
) -> None:
    """curl --path-as-is; a good request right after it works."""
    good = f"{edge.url}/outputs/plain.png"
    assert curl(good).status == 200
    before = len(stocked.origin.requests)
    escaped = path.replace(" ", "%20")
    assert curl("--globoff", "--path-as-is", edge.url + escaped).status == 400
    assert len(stocked.origin.requests) == before
    assert curl(good).status == 200


def test_a_private_key_is_refused_whether_it_exists_or_not(
    edge: Edgecache, origin: OriginThread
) -> None:
    origin.put("models/secret.bin", b"weights")
    there = curl(f"{edge.url}/models/secret.bin")
    absent = curl(f"{edge.url}/models/absent.bin")
    assert (there.status, absent.status) == (403, 403)
    assert there.body == absent.body
    for got in (there, absent):
        del got.fields["Date"]
    assert sorted(there.fields.items()) == sorted(absent.fields.items())
    assert origin.asked("models/secret.bin") == []
