"""What curl gets: whole objects, ranges, conditions, resumed downloads, refusals."""

from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests.conftest import require
from tests.end_to_end.curl import curl
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import environment, run, running
from tests.end_to_end.serving import Edgecache
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20


def test_a_whole_object_comes_complete_with_the_headers_of_the_design(
    edge: Edgecache, origin: OriginThread
) -> None:
    data = Pattern(3 * MIB + 5, seed=1).read()
    origin.put("outputs/whole.png", data)
    got = curl(f"{edge.url}/outputs/whole.png")
    assert (got.status, got.body) == (200, data)
    assert got.fields["Content-Type"] == "image/png"
    assert got.fields["Accept-Ranges"] == "bytes"
    assert got.fields["ETag"] == f'"{origin.origin.objects["outputs/whole.png"].etag}"'
    assert got.fields["Last-Modified"].endswith(" GMT")
    assert got.fields["Cache-Control"] == "public, max-age=31536000, immutable"
    assert got.fields["X-Content-Type-Options"] == "nosniff"
    assert got.fields["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert got.fields["Access-Control-Allow-Origin"] == "*"
    assert int(got.fields["Age"]) < 5
    assert got.cache_status.startswith("edgecache; fwd=uri-miss")
    leaked = ("Set-Cookie", "CF-RAY", "cf-cache-status", "x-amz-request-id", "NEL", "alt-svc")
    assert [name for name in leaked if name in got.fields] == []
    assert got.fields["Server"] == "edgecache"


def test_a_cold_range_costs_its_slices_and_a_warm_one_nothing(
    edge: Edgecache, origin: OriginThread
) -> None:
    movie = Pattern(64 * MIB, seed=2)
    origin.put("outputs/ranged.mp4", movie)
    url = f"{edge.url}/outputs/ranged.mp4"
    cold = curl("-r", "40000000-40000999", url)
    assert (cold.status, cold.body) == (206, movie.read(40_000_000, 40_001_000))
    assert cold.fields["Content-Range"] == f"bytes 40000000-40000999/{64 * MIB}"
    assert cold.fields["Content-Length"] == "1000"
    assert "fwd=uri-miss; fwd-status=206; stored" in cold.cache_status
    edge.idle()
    assert origin.asked("outputs/ranged.mp4") == [f"bytes={38 * MIB}-{39 * MIB - 1}"]
    warm = curl("-r", "40000500-40001499", url)
    assert (warm.status, warm.body) == (206, movie.read(40_000_500, 40_001_500))
    assert warm.cache_status.startswith("edgecache; hit; ttl=")
    assert origin.sent("outputs/ranged.mp4") == MIB


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("0-1", 0, 2),
        ("0-", 0, 2_500_000),
        ("-7", 2_499_993, 2_500_000),
        ("2499999-", 2_499_999, 2_500_000),
        ("1048570-2097160", 1_048_570, 2_097_161),  # the end of one slice to the start of the third
        ("2499990-9999999999", 2_499_990, 2_500_000),
    ],
)
def test_a_range_gives_its_bytes(
    edge: Edgecache, origin: OriginThread, asked: str, start: int, stop: int
) -> None:
    movie = Pattern(2_500_000, seed=3)
    origin.put("outputs/forms.mp4", movie)
    got = curl("-r", asked, f"{edge.url}/outputs/forms.mp4")
    assert (got.status, got.body) == (206, movie.read(start, stop))
    assert got.fields["Content-Range"] == f"bytes {start}-{stop - 1}/2500000"


def test_a_range_past_the_end_is_416_with_the_length(edge: Edgecache, origin: OriginThread) -> None:
    origin.put("outputs/short.mp4", b"0123456789")
    got = curl("-r", "10-", f"{edge.url}/outputs/short.mp4")
    assert (got.status, got.fields["Content-Range"]) == (416, "bytes */10")


def test_several_ranges_are_multipart(edge: Edgecache, origin: OriginThread) -> None:
    origin.put("outputs/parts.mp4", b"0123456789")
    got = curl("-r", "0-1,5-6", f"{edge.url}/outputs/parts.mp4")
    assert got.status == 206
    assert got.fields.get_content_type() == "multipart/byteranges"
    head = f"Content-Type: {got.fields['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + got.body, policy=policy.HTTP)
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [
        (part["Content-Type"], part["Content-Range"], part.get_payload()) for part in parts
    ] == [("video/mp4", "bytes 0-1/10", "01"), ("video/mp4", "bytes 5-6/10", "56")]


def test_a_head_tells_the_length_and_is_never_a_head_at_the_origin(
    edge: Edgecache, origin: OriginThread
) -> None:
    origin.put("outputs/head.mp4", Pattern(5 * MIB, seed=4))  # RunPod answers HEAD of it with 403
    got = curl("--head", f"{edge.url}/outputs/head.mp4")
    assert (got.status, got.body) == (200, b"")
    assert got.fields["Content-Length"] == str(5 * MIB)
    assert got.fields["Content-Type"] == "video/mp4"
    assert origin.methods("outputs/head.mp4") == {"GET"}
    assert origin.sent("outputs/head.mp4") == 1


def test_an_empty_object_is_served(edge: Edgecache, origin: OriginThread) -> None:
    origin.put("outputs/empty.png", b"")
    got = curl(f"{edge.url}/outputs/empty.png")
    assert (got.status, got.fields["Content-Length"], got.body) == (200, "0", b"")


def test_time_condition(edge: Edgecache, origin: OriginThread) -> None:
    """curl -z: 304 for the date it has, the object for an older one."""
    origin.put("outputs/dated.png", b"picture")
    url = f"{edge.url}/outputs/dated.png"
    modified = curl(url).fields["Last-Modified"]
    same = curl("-z", modified, url)
    assert (same.status, same.body) == (304, b"")
    assert same.fields["ETag"] is not None
    assert same.fields["Content-Length"] is None
    older = curl("-z", "Mon, 01 Jan 2001 00:00:00 GMT", url)
    assert (older.status, older.body) == (200, b"picture")


def test_etag_condition(edge: Edgecache, origin: OriginThread, tmp_path: Path) -> None:
    """curl --etag-save, then --etag-compare: 304, though the origin's own ETag is weak."""
    origin.put("outputs/tagged.png", b"picture")
    url, tag = f"{edge.url}/outputs/tagged.png", tmp_path / "etag"
    assert curl("--etag-save", tag, url).status == 200
    again = curl("--etag-compare", tag, url)
    assert (again.status, again.body) == (304, b"")
    assert again.fields["Cache-Control"] == "public, max-age=31536000, immutable"


def test_a_broken_download_is_resumed(
    edge: Edgecache, origin: OriginThread, tmp_path: Path
) -> None:
    """curl -C -: only the rest is sent, and only the slices of the rest are bought."""
    movie = Pattern(4 * MIB + 9, seed=5)
    origin.put("outputs/resumed.mp4", movie)
    file = tmp_path / "resumed.mp4"
    file.write_bytes(movie.read(0, 3 * MIB + 1))
    url = f"{edge.url}/outputs/resumed.mp4"
    told = run(
        "curl", "-q", "-sS", "-C", "-", "-o", file, "-w", "%{http_code} %{size_download}", url
    )
    assert told.stdout.decode() == f"206 {MIB + 8}"
    assert file.read_bytes() == movie.read()
    assert origin.sent("outputs/resumed.mp4") == MIB + 9


def test_a_hundred_downloads_at_once_cost_one_origin_read(
    edge: Edgecache, origin: OriginThread
) -> None:
    """curl --parallel; that the query differs makes no other object of it."""
    movie = Pattern(2 * MIB + 1, seed=15)
    origin.put("outputs/popular.mp4", movie)
    urls = f"{edge.url}/outputs/popular.mp4?visitor=[1-100]"
    at_once = ("--parallel", "--parallel-immediate", "--parallel-max", "100")
    told = run(
        "curl",
        "-q",
        "-sS",
        *at_once,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{size_download}\n",
        urls,
    )
    assert told.stdout.decode().splitlines() == [f"200 {len(movie)}"] * 100
    edge.idle()
    assert origin.sent("outputs/popular.mp4") == len(movie)


def test_a_seek_does_not_wait_for_a_download_that_is_stuck(
    edge: Edgecache, origin: OriginThread
) -> None:
    movie = Pattern(64 * MIB, seed=16)
    origin.put("outputs/stuck.mp4", movie)
    url = f"{edge.url}/outputs/stuck.mp4"
    download = (require("curl"), "-q", "-sS", "-o", "/dev/null", url)
    with (
        origin.held("outputs/stuck.mp4", after=MIB // 2) as held,
        running(*download, env=environment()),
    ):
        held.wait()
        assert curl("-r", "-100", url).body == movie.read(64 * MIB - 100)
        assert curl("-r", "100-199", url).body == movie.read(100, 200)  # what has come of it


def test_a_missing_object_is_404_without_the_origins_words(edge: Edgecache) -> None:
    """RunPod says it with 400 InvalidArgument and XML."""
    got = curl(f"{edge.url}/outputs/missing.png")
    assert (got.status, got.body) == (404, b"no such object\n")
    assert got.fields.get_content_type() == "text/plain"
    told = curl("-H", "Accept: application/json", f"{edge.url}/outputs/missing.png")
    assert told.status == 404
    assert told.fields.get_content_type() == "application/json"
    assert told.body == b'{"error": {"status": 404, "message": "no such object"}}\n'


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_other_methods_are_405_with_allow(edge: Edgecache, method: str) -> None:
    got = curl("-X", method, f"{edge.url}/outputs/whole.png")
    assert (got.status, got.fields["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_one_connection_serves_one_request_after_another(
    edge: Edgecache, origin: OriginThread, tmp_path: Path
) -> None:
    origin.put("outputs/again.png", b"picture")
    url = f"{edge.url}/outputs/again.png"
    out = ["-o", str(tmp_path / "out")]
    told = run("curl", "-q", "-sS", *out, url, *out, url, *out, url, "-w", "%{num_connects} ")
    assert told.stdout.decode() == "1 0 0 "
