"""The drive of a warming: every object gets its result, once, within the rate."""

import threading
from collections import Counter
from typing import Any

import pytest

from edgecache.cli.warm_drive import ATTEMPTS, MOST_NAMED, Drive, Item, Pace, Totals
from edgecache.cli.warm_items import given
from edgecache.core.errors import EdgecacheError

Answer = dict[str, Any]


class Server:
    """Answers each object by its script of results, the last of them for ever."""

    def __init__(self, **scripts: list[tuple[str, int]]) -> None:
        self.scripts = scripts
        self.asked: Counter[str] = Counter()
        self.bodies: list[Answer] = []
        self._lock = threading.Lock()

    def post(self, path: str, body: Answer) -> Answer:
        assert path == "/api/warm"
        with self._lock:
            self.bodies.append(body)
            return {"objects": [self._one(one["key"]) for one in body["objects"]]}

    def _one(self, key: str) -> Answer:
        script = self.scripts.get(key, [("hit", 0)])
        result, count = script[min(self.asked[key], len(script) - 1)]
        self.asked[key] += 1
        return {"key": key, "result": result, "bytes": count}


async def drive(server: Server, keys: list[str], **options: Any) -> tuple[Totals, list[float]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    driven = Drive(server.post, concurrency=4, sleep=sleep, **options)
    await driven.run(given([Item(key) for key in keys]))
    return driven.totals, slept


async def test_each_object_is_asked_for_once() -> None:
    server = Server()
    keys = [f"k{number}" for number in range(1000)]
    totals, _ = await drive(server, keys)
    assert server.asked == Counter(keys)
    assert totals.results == {"hit": 1000}
    assert totals.complete
    assert len(server.bodies) < 200  # many in one request, for they are answered at once
    assert max(len(body["objects"]) for body in server.bodies) <= 100


async def test_nothing_to_do() -> None:
    totals, _ = await drive(Server(), [])
    assert totals.objects == 0
    assert totals.complete


async def test_what_is_not_done_is_asked_for_again() -> None:
    server = Server(a=[("more", 5), ("more", 0), ("stored", 3)])
    totals, slept = await drive(server, ["a"])
    assert (totals.results, totals.bytes) == ({"stored": 1}, 8)
    assert sum(map(bool, slept)) == 1  # only where there was no progress


async def test_an_origin_that_fails_now_and_then() -> None:
    server = Server(a=[("error", 0), ("stored", 1)], b=[("error", 0)])
    totals, _ = await drive(server, ["a", "b"])
    assert totals.results == {"stored": 1, "error": 1}
    assert server.asked["b"] == ATTEMPTS
    assert not totals.complete
    assert totals.failed == [{"key": "b", "result": "error"}]


async def test_only_some_failures_are_named() -> None:
    keys = [f"k{number}" for number in range(50)]
    totals, _ = await drive(Server(**{key: [("not-found", 0)] for key in keys}), keys)
    assert totals.results == {"not-found": 50}
    assert len(totals.failed) == MOST_NAMED


async def test_a_server_that_is_gone_ends_it() -> None:
    def post(*_: object) -> Answer:
        raise EdgecacheError("no server")

    driven = Drive(post, concurrency=4)
    with pytest.raises(EdgecacheError, match="no server"):
        await driven.run(given([Item("a"), Item("b")]))


async def test_what_is_asked_for_is_passed_on() -> None:
    server = Server()
    driven = Drive(server.post, concurrency=2, rate=1000, evict=True)
    await driven.run(given([Item("a", "volume", "bytes=0-5")]))
    assert server.bodies == [
        {
            "objects": [{"key": "a", "origin": "volume", "range": "bytes=0-5"}],
            "evict": True,
            "limit": 500,
        }
    ]


def test_a_pace_is_kept() -> None:
    now = [0.0]
    pace = Pace(100, lambda: now[0])
    assert pace.delay() == 0
    pace.took(50)
    pace.took(100)
    assert pace.delay() == pytest.approx(1.5)
    now[0] = 10.0  # what was not used is not saved up
    assert pace.delay() == 0
    pace.took(100)
    assert pace.delay() == pytest.approx(1.0)


def test_no_rate_is_no_delay() -> None:
    pace = Pace(0, lambda: 0.0)
    pace.took(10**9)
    assert pace.delay() == 0
