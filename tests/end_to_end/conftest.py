"""What the end-to-end tests share: origins, servers in front of them, a video. Each test uses keys
of its own, so that one server can serve many tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Moto
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import run
from tests.end_to_end.serving import Edgecache, serving, settings_for


@pytest.fixture(scope="session", params=[1, 2], ids=["alone", "workers"])
def workers(request: pytest.FixtureRequest) -> int:
    """Every test that asks for this, or for a server, runs in front of one process and several."""
    count: int = request.param
    return count


@pytest.fixture(scope="session")
def origin(workers: int) -> Iterator[OriginThread]:
    """RunPod's S3 as it is, quirks and all. One a form: tests look at all that it was asked."""
    with OriginThread() as origin:
        yield origin


@pytest.fixture(scope="session")
def runpod_origin() -> Iterator[OriginThread]:
    """The same, for tests that run once."""
    with OriginThread() as origin:
        yield origin


@pytest.fixture(scope="session")
def edge(
    workers: int, origin: OriginThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edgecache]:
    """One server in front of `origin` for the whole run."""
    folder = tmp_path_factory.mktemp("edge")
    settings = settings_for(origin.origin.settings, folder, listen={"workers": workers})
    with serving(settings, folder) as server:
        yield server
        assert server.stop() == 0
        # Nothing that clients did, leaving in the middle included, was an error of the server's.
        assert server.stderr.find("ERROR|Traceback") is None, str(server.stderr)


@pytest.fixture(scope="session")
def moto_edge(
    workers: int, moto_server: Moto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edgecache]:
    """One server in front of moto for the whole run."""
    folder = tmp_path_factory.mktemp("moto-edge")
    settings = {
        name: getattr(moto_server, name)
        for name in ("endpoint", "region", "bucket", "access_key", "secret_key")
    }
    listen = {"workers": workers}
    with serving(settings_for(settings, folder, listen=listen), folder) as server:
        yield server


@pytest.fixture(scope="session")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of 12 Mbit/s, about 30 MB, its moov atom at the end, as ffmpeg writes it."""
    path = tmp_path_factory.mktemp("movie") / "movie.mp4"
    picture = "testsrc2=size=320x180:rate=24,noise=alls=60:allf=t:all_seed=1"
    encoding = "-t 20 -c:v libx264 -preset ultrafast -crf 10 -pix_fmt yuv420p -g 24 -c:a aac"
    inputs = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=440")
    run("ffmpeg", "-loglevel", "error", *inputs, *encoding.split(), path)
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    assert len(data) > 20_000_000
    return path
