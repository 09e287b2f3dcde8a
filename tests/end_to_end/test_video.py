"""ffprobe and ffmpeg on an MP4 whose moov atom is at the end, as most generators write them."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import run
from tests.end_to_end.serving import Edgecache

pytestmark = pytest.mark.e2e

MIB = 2**20


def probe(source: str | Path) -> object:
    """What ffprobe tells of a file, its name left out."""
    entries = "format=duration,size,bit_rate:stream=codec_name,width,height,nb_frames"
    told = run("ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", source)
    return json.loads(told.stdout)


def frame(source: str | Path, seconds: int) -> bytes:
    """A hash of the first frame from there."""
    one = ("-frames:v", "1", "-an", "-f", "framemd5", "-")
    return run("ffmpeg", "-v", "error", "-ss", str(seconds), "-i", source, *one).stdout


def streams(source: str | Path) -> bytes:
    """A hash of all its packets."""
    return run("ffmpeg", "-v", "error", "-i", source, "-c", "copy", "-f", "md5", "-").stdout


def test_ffprobe_costs_few_bytes_of_a_long_video(
    edge: Edgecache, origin: OriginThread, movie: Path
) -> None:
    """The index is at the end: what is between is not fetched."""
    key = "outputs/probed.mp4"
    origin.put(key, movie.read_bytes())
    assert probe(f"{edge.url}/{key}") == probe(movie)
    edge.idle()
    bought = origin.sent(key)
    assert bought <= 3 * MIB  # its two ends, of 30
    assert probe(f"{edge.url}/{key}") == probe(movie)
    edge.idle()
    assert origin.sent(key) == bought


def test_a_seek_shows_the_right_frame_and_costs_what_is_around_it(
    edge: Edgecache, origin: OriginThread, movie: Path
) -> None:
    """ffmpeg -ss 10 -frames:v 1, cold and warm."""
    key = "outputs/sought.mp4"
    origin.put(key, movie.read_bytes())
    assert frame(f"{edge.url}/{key}", 10) == frame(movie, 10)
    edge.idle()
    bought = origin.sent(key)
    assert bought <= 7 * MIB  # its two ends and around the middle
    assert frame(f"{edge.url}/{key}", 10) == frame(movie, 10)
    edge.idle()
    assert origin.sent(key) - bought <= 2 * MIB  # it may have been quicker to read ahead this time


def test_a_whole_video_comes_through_once_it_was_sought_in(
    edge: Edgecache, origin: OriginThread, movie: Path
) -> None:
    """What seeks have fetched is not bought again, but for what was under way when they ended."""
    key = "outputs/played.mp4"
    origin.put(key, movie.read_bytes())
    frame(f"{edge.url}/{key}", 15)
    edge.idle()
    assert streams(f"{edge.url}/{key}") == streams(movie)
    edge.idle()
    assert 0 <= origin.sent(key) - movie.stat().st_size <= MIB
