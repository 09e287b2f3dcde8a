"""Purges and new versions under load: who asks afterwards gets the new bytes, nobody a mixture."""

import random
from collections import Counter
from pathlib import Path
from threading import Event

import pytest

from tests.end_to_end.clients import CUT, Client, Reply, hammering
from tests.end_to_end.origin_thread import OriginThread
from tests.end_to_end.programs import eventually
from tests.end_to_end.serving import serving, settings_for
from tests.pattern import Pattern

pytestmark = pytest.mark.e2e

CONNECTIONS = 12
ROUNDS = 24
SIZES = {"outputs/hot.png": 20_000, "outputs/long.mp4": 5 * 2**16 + 11}
SLICE = "64KiB"


class Versions:
    """What the origin had, and the least that a request that begins now may be answered with."""

    def __init__(self, origin: OriginThread) -> None:
        self._origin = origin
        self._bodies: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.number = 0
        self.least = 0
        self.seen: Counter[str] = Counter()

    def replace(self) -> None:
        self.number += 1
        for key, size in SIZES.items():
            data = Pattern(size + self.number % 7, seed=self.number % 8)
            etag = f"{self.number:032x}"
            self._bodies[key, etag] = self.number, data.read()
            self._origin.origin.put(key, data, etag=etag, headers={"Cache-Tag": "hot"})

    def wait_for_answers(self, count: int = 60) -> None:
        """Until so many more have come."""
        until = self.seen.total() + count
        eventually(lambda: self.seen.total() >= until, "answers")

    def check(self, key: str, least: int, asked: tuple[int, int] | None, reply: Reply) -> None:
        self.seen[f"{reply.status} {reply.cache_status.partition(';')[2][:8]}"] += 1
        assert reply.status == (206 if asked else 200), (reply.status, reply.body[:100])
        etag = str(reply.fields["ETag"]).strip('"')
        number, body = self._bodies[key, etag]
        expected = body[asked[0] : asked[1] + 1] if asked else body
        assert reply.body == expected, f"{key}: not version {number}"
        assert number >= least, f"{key}: version {number}, after {least} was said to be the oldest"


def ask(url: str, versions: Versions, number: int, over: Event) -> None:
    dice = random.Random(number)
    client = Client(url)
    while not over.is_set():
        key = dice.choice(list(SIZES))
        asked = None
        if dice.random() < 0.5:
            first = dice.randrange(SIZES[key])
            asked = first, min(first + dice.choice((0, 100, 70_000, 200_000)), SIZES[key] - 1)
        fields = {"Range": f"bytes={asked[0]}-{asked[1]}"} if asked else {}
        least = versions.least
        try:
            reply = client.get(f"/{key}", fields)
        except CUT:  # it was replaced while it was read
            versions.seen["cut"] += 1
            client.close()
            continue
        versions.check(key, least, asked, reply)
    client.close()


Asked = dict[str, str | bool]
ONE: list[Asked] = [{"key": key} for key in SIZES]
EACH: list[list[Asked]] = [
    [{"prefix": "outputs/"}],
    [{"tag": "hot"}],
    [{"all": True}],
    [{"prefix": "outputs/", "soft": True}],
    [{"tag": "hot", "soft": True}],
    ONE,
    [asked | {"soft": True} for asked in ONE],
    [{"all": True, "soft": True}],
]
PURGES: dict[str, list[list[Asked]]] = {"key": [ONE], "prefix": EACH[:1], "each": EACH}


@pytest.mark.parametrize("what", PURGES)
def test_after_a_purge_has_returned_nobody_gets_what_was_before_it(
    origin: OriginThread, workers: int, tmp_path: Path, what: str
) -> None:
    versions = Versions(origin)
    versions.replace()
    settings = settings_for(
        origin.origin.settings,
        tmp_path,
        listen={"workers": workers},
        cache={"slice_size": SLICE},
        log={"access": "off"},
    )
    with (
        serving(settings, tmp_path) as server,
        hammering(CONNECTIONS, lambda number, over: ask(server.url, versions, number, over)),
    ):
        for round_ in range(ROUNDS):
            versions.wait_for_answers()
            versions.replace()
            for asked in PURGES[what][round_ % len(PURGES[what])]:
                assert server.purge(asked)[0] == 200
            versions.least = versions.number
    assert versions.seen["200  hit; tt"] > ROUNDS
    assert server.stderr.find("ERROR|Traceback") is None, str(server.stderr)


def test_a_new_version_is_never_mixed_with_the_one_before(
    origin: OriginThread, workers: int, tmp_path: Path
) -> None:
    """Found by revalidation, many times a second."""
    versions = Versions(origin)
    versions.replace()
    settings = settings_for(
        origin.origin.settings,
        tmp_path,
        listen={"workers": workers},
        cache={"slice_size": SLICE},
        freshness={"ttl": "50ms", "stale_while_revalidate": "0s"},
        log={"access": "off"},
    )
    with (
        serving(settings, tmp_path) as server,
        hammering(CONNECTIONS, lambda number, over: ask(server.url, versions, number, over)),
    ):
        for _ in range(ROUNDS):
            versions.wait_for_answers()
            versions.replace()
        with Client(server.url) as client:
            last = f'"{versions.number:032x}"'
            eventually(
                lambda: {client.get(f"/{key}").fields["ETag"] for key in SIZES} == {last},
                "the last one",
            )
