"""The shipped objects are what the demo says they are."""

import json
import re
import subprocess
from importlib.resources import files

import pytest

from edgecache.core.model import ByteSpan
from edgecache.demo.samples import CLIP, GALLERY, IMAGES, STYLE, VIDEO, boxes, load
from edgecache.demo.settings import SLICE_SIZE
from tests.conftest import require

MAGIC = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    return load()


def test_everything_is_public_by_default(objects: dict[str, bytes]) -> None:
    assert all(key.startswith("outputs/") for key in objects)


def test_the_wheel_stays_small(objects: dict[str, bytes]) -> None:
    assert sum(map(len, objects.values())) < 1_500_000


def test_nothing_is_shipped_that_is_not_shown(objects: dict[str, bytes]) -> None:
    shipped = {path.name for path in (files("edgecache.demo") / "assets").iterdir()}
    assert shipped == {key.rpartition("/")[2] for key in objects} | {"README.md"}


@pytest.mark.parametrize("key", IMAGES)
def test_an_image_is_what_its_extension_says(key: str, objects: dict[str, bytes]) -> None:
    assert objects[key].startswith(MAGIC[key.rpartition(".")[2]])


def test_the_gallery_shows_every_image_and_video_once(objects: dict[str, bytes]) -> None:
    shown = re.findall(r'src="([^"#]+)', objects[GALLERY].decode())
    assert sorted(f"outputs/{name}" for name in shown) == sorted((*IMAGES, VIDEO, CLIP))


def test_the_gallery_needs_nothing_that_its_policy_forbids(objects: dict[str, bytes]) -> None:
    """`sandbox; default-src 'self'`: no script, no inline style, no other host."""
    page = objects[GALLERY].decode()
    assert f'href="{STYLE.removeprefix("outputs/")}"' in page
    assert not re.search(r"<script|<style|style=|https?://", page)


def test_the_long_video_has_its_index_last(objects: dict[str, bytes]) -> None:
    assert list(boxes(objects[VIDEO]))[-2:] == ["mdat", "moov"]


def test_the_clip_has_its_index_first(objects: dict[str, bytes]) -> None:
    kinds = list(boxes(objects[CLIP]))
    assert kinds.index("moov") < kinds.index("mdat")


def test_a_seek_lands_on_other_slices(objects: dict[str, bytes]) -> None:
    assert len(objects[VIDEO]) > 10 * SLICE_SIZE


def test_boxes_are_half_open_spans() -> None:
    mp4 = b"\0\0\0\x0cftypisom" + b"\0\0\0\x08free"
    assert boxes(mp4) == {"ftyp": ByteSpan(0, 12), "free": ByteSpan(12, 20)}


@pytest.mark.parametrize("mp4", [b"\0\0\0\x0cftyp", b"\0\0\0\x04ftyp", b"\0\0\0\0mdat", b"\0\0"])
def test_what_is_no_box_is_refused(mp4: bytes) -> None:
    with pytest.raises(ValueError, match="not a box at 0"):
        boxes(mp4)


@pytest.mark.parametrize(
    ("key", "codecs", "seconds", "height"),
    [(VIDEO, ["h264", "aac"], 24, 360), (CLIP, ["h264"], 8, 270)],
)
def test_every_frame_of_the_videos_decodes(
    key: str, codecs: list[str], seconds: int, height: int, objects: dict[str, bytes]
) -> None:
    probe = (require("ffprobe"), "-v", "error", "-of", "json", "-count_frames")
    shown = ("-show_entries", "format=duration:stream=codec_name,pix_fmt,height,nb_read_frames")
    path = files("edgecache.demo") / "assets" / key.removeprefix("outputs/")
    ended = subprocess.run([*probe, *shown, str(path)], capture_output=True, check=True)
    assert ended.stderr == b""
    found = json.loads(ended.stdout)
    video = found["streams"][0]
    assert [stream["codec_name"] for stream in found["streams"]] == codecs
    assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.1)
    assert (video["pix_fmt"], video["height"]) == ("yuv420p", height)
    assert int(video["nb_read_frames"]) == seconds * 24
