"""Chromium showing media of edgecache on a page of another site."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.end_to_end.devtools import chromium
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.serving import Edgecache

pytestmark = pytest.mark.e2e

SAMPLES = Path(__file__).parents[2] / "edgecache" / "demo" / "assets"

PAGE = """<!doctype html>
<title>media of another site</title>
<body style="background: #234; color: white; font: 20px sans-serif">
<p>An image and a video, sought to its 18th second</p>
<img id="image" crossorigin width="420" src="{media}/outputs/browser/julia.jpg">
<video id="video" crossorigin width="480" muted preload="metadata"></video>
<script>
const when = (target, event) => new Promise((resolve, reject) => {{
  target.addEventListener(event, resolve, {{once: true}});
  target.addEventListener("error", () => reject(event + " failed"), {{once: true}});
}});
async function show() {{
  await image.decode();
  video.src = "{media}/outputs/browser/movie.mp4";
  await when(video, "loadedmetadata");
  const sought = when(video, "seeked");
  video.currentTime = 18;
  await sought;
  return {{
    image: image.naturalWidth, width: video.videoWidth, duration: video.duration,
    time: video.currentTime, ready: video.readyState, failed: video.error,
  }};
}}
/* A canvas gives its pixels only if CORS let them in. */
function pixels(drawn, width, height) {{
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.drawImage(drawn, 0, 0, width, height);
  return new Set(context.getImageData(0, 0, width, height).data).size;
}}
async function ask(path, options) {{
  const got = await fetch("{media}" + path, options);
  return {{
    status: got.status, body: await got.text(),
    seen: Object.fromEntries([...got.headers].filter(([name]) => name !== "date")),
  }};
}}
window.shown = show();
</script>
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def media(origin: OriginThread, movie: Path) -> OriginThread:
    """The origin, with what the page shows."""
    origin.put("outputs/browser/julia.jpg", (SAMPLES / "julia.jpg").read_bytes())
    origin.put("outputs/browser/movie.mp4", movie.read_bytes())
    return origin


@pytest.fixture
def site(edge: Edgecache, tmp_path: Path) -> Iterator[str]:
    """Another site (localhost, not 127.0.0.1) with a page that shows what edgecache serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text(PAGE.format(media=edge.url))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def shot(tmp_path: Path) -> Iterator[bytearray]:
    """Fill it with a screenshot: it is kept beside the test's other files."""
    picture = bytearray()
    yield picture
    (tmp_path / "page.png").write_bytes(picture)


async def test_a_page_shows_an_image_and_seeks_in_a_video(
    edge: Edgecache, media: OriginThread, site: str, tmp_path: Path, shot: bytearray
) -> None:
    async with chromium(tmp_path / "profile") as page:
        await page.open(site)
        shown = await page.evaluate("shown")
        assert await page.evaluate("pixels(image, 96, 64)") > 20
        assert await page.evaluate("pixels(video, 96, 54)") > 20
        shot += await page.screenshot()
    assert shown == {
        "image": 960,
        "width": 320,
        "duration": 20,
        "time": 18,
        "ready": shown["ready"],
        "failed": None,
    }
    assert shown["ready"] >= 2  # HAVE_CURRENT_DATA: the frame is there
    entries = edge.access("/outputs/browser/movie.mp4", 2)
    # 499: it seeks on before the answer to its last seek has begun.
    assert {206} <= {entry["status"] for entry in entries} <= {206, 499}
    assert entries[0]["referer"] == site
    edge.idle()
    length = media.origin.objects["outputs/browser/movie.mp4"].data.length
    assert media.sent("outputs/browser/movie.mp4") < length  # what is between was left out


async def test_a_script_of_another_site_reads_a_range_and_its_headers(
    edge: Edgecache, origin: OriginThread, site: str, tmp_path: Path
) -> None:
    """fetch() with a Range field: simple or preflighted, as the browser likes."""
    origin.put("outputs/browser/digits.bin", b"0123456789")
    async with chromium(tmp_path / "profile") as page:
        await page.open(site)
        ranged = await page.evaluate(
            'ask("/outputs/browser/digits.bin", {headers: {"Range": "bytes=2-4"}})'
        )
        etag = ranged["seen"]["etag"]
        resumed = await page.evaluate(
            'ask("/outputs/browser/digits.bin",'
            f""" {{headers: {{"Range": "bytes=5-", "If-Range": '{etag}'}}, cache: "no-store"}})"""
        )
        missing = await page.evaluate('ask("/outputs/browser/missing.bin")')
    assert (ranged["status"], ranged["body"]) == (206, "234")
    assert ranged["seen"]["content-range"] == "bytes 2-4/10"
    assert ranged["seen"]["content-length"] == "3"
    assert ranged["seen"]["accept-ranges"] == "bytes"
    assert ranged["seen"]["cache-status"].startswith("edgecache; ")
    assert (resumed["status"], resumed["body"]) == (206, "56789")
    assert (missing["status"], missing["body"]) == (404, "no such object\n")
    methods = [entry["method"] for entry in edge.access("/outputs/browser/digits.bin", 3)]
    assert methods.count("OPTIONS") >= 1  # If-Range is no simple field: it was preflighted
