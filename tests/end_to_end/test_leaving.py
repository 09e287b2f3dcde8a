"""Clients that leave before they have everything: what they cost, and what is told of them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.end_to_end.curl import curl
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import Edgecache, asking
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20


def test_a_client_that_leaves_costs_what_it_took_and_little_more(
    edge: Edgecache, origin: OriginThread
) -> None:
    """A kilobyte read of an object without end: what the kernel would take is not fetched."""
    key = "outputs/left.mp4"
    origin.put(key, Pattern(64 * MIB, seed=14))
    with asking(edge, key) as client:
        assert client.recv(1024).startswith(b"HTTP/1.1 200 OK\r\n")
        origin.sent(key)
    edge.idle()
    assert origin.sent(key) <= 3 * MIB
    assert curl("-r", "0-9", f"{edge.url}/{key}").status == 206


def test_a_client_that_leaves_before_its_answer_got_nothing(
    edge: Edgecache, origin: OriginThread
) -> None:
    """No byte of it counts as given, and its log line has a status that log readers take."""
    key = "outputs/impatient.png"
    origin.put(key, b"x" * 100_000)
    origin.put("outputs/quick.png", b"picture")
    given = edge.total("edgecache_client_body_bytes_total")
    with origin.held(key, after=None) as held:
        with asking(edge, key):
            held.wait()
        # Its end was there before this one came, so the server knows of it.
        given += len(curl(f"{edge.url}/outputs/quick.png").body)
    (entry,) = edge.access(f"/{key}")
    assert entry["bytes"] == 0
    assert 100 <= int(str(entry["status"])) <= 599
    edge.idle()
    assert edge.total("edgecache_client_body_bytes_total") == given
    assert curl(f"{edge.url}/{key}").body == b"x" * 100_000  # the next one gets it
    assert len(origin.asked(key)) == 1


def test_nine_of_ten_leaving_leave_the_tenth_alone(edge: Edgecache, origin: OriginThread) -> None:
    """They all share one read of the origin, which the leaving of nine does not end."""
    key = "outputs/shared.mp4"
    movie = Pattern(3 * MIB, seed=17)
    origin.put(key, movie)
    with ThreadPoolExecutor(1) as tenth, origin.held(key, after=MIB // 2) as held:
        with ExitStack() as nine:
            for _ in range(9):
                nine.enter_context(asking(edge, key)).recv(1)
            held.wait()
            download = tenth.submit(curl, f"{edge.url}/{key}")
            eventually(lambda: edge.total("edgecache_http_requests_in_flight") >= 10, "ten clients")
        held.release()
        assert download.result().body == movie.read()
    edge.idle()
    assert origin.sent(key) == len(movie)
