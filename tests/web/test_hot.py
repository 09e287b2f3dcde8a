"""What the hot table keeps, for how long, and how much of it."""

import pytest

from edgecache.core.index import Route, StoredResponse, stored_response
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.generations import Generations
from edgecache.web.hot import ENTRY, HotObject, HotTable, Ready
from edgecache.web.own_head import OwnHead

ROUTE = Route(label="/", ttl=60.0, browser_ttl=60.0)
NOW = 1_700_000_000.25


def stored(name: str = "a", *, length: int = 10, ttl: float = 60.0) -> StoredResponse:
    meta = ObjectMeta(
        key=ObjectKey("volume", f"outputs/{name}.webp"),
        etag=f'"{name}"',
        origin_etag=f'"{name}"',
        length=length,
        last_modified=None,
        date=None,
        request_time=NOW,
        response_time=NOW,
        headers=(("cache-control", f"max-age={int(ttl)}"),),
    )
    return stored_response(meta, ROUTE)


def table(limit: int = 2**20, largest_body: int = 100) -> HotTable:
    return HotTable(Generations(), OwnHead(["*"]), limit=limit, largest_body=largest_body)


def add(hot: HotTable, response: StoredResponse, *, body: bool = True) -> HotObject | None:
    known = hot.generation(response.meta.key)
    hot.add(response, known, (lambda: b"x" * response.meta.length) if body else None)
    return hot.get(response.meta.key)


def found(ready: Ready | None) -> bytes:
    assert ready is not None
    return b"".join(ready.pieces)


def test_an_answer_is_whole_and_its_age_goes_on() -> None:
    one = add(table(), stored())
    assert one is not None
    head, _, body = found(one.rendered(200, NOW, None)).partition(b"\r\n\r\n")
    assert body == b"x" * 10
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nAge: 0\r\nCache-Status: edgecache; hit; ttl=60\r\n" in head
    later = found(one.rendered(200, NOW + 2.5, None))
    assert b"\r\nAge: 2\r\nCache-Status: edgecache; hit; ttl=57\r\n" in later
    assert found(one.rendered(304, NOW + 2.5, None)).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("steps", [[0, 0.3, 0.999, 1.0, 1.0001, 1.7, 2.0], [5.5, 4.5, 0.0, 59.9]])
def test_age_and_ttl_are_those_of_an_answer_made_anew(steps: list[float]) -> None:
    response = stored()
    hot = table()
    one = add(hot, response)
    assert one is not None
    for step in steps:
        anew = add(table(), response)
        assert anew is not None
        assert found(one.rendered(200, NOW + step, None)) == found(
            anew.rendered(200, NOW + step, None)
        )


def test_what_is_not_fresh_is_not_given() -> None:
    one = add(table(), stored(ttl=2))
    assert one is not None
    assert one.rendered(200, NOW + 1.999, None) is not None
    assert one.rendered(200, NOW + 2.0, None) is None
    assert one.rendered(304, NOW + 2.5, None) is None


def test_an_origin_gets_its_own_fields() -> None:
    app = "https://app.example.com"
    hot = HotTable(Generations(), OwnHead([app]), limit=2**20, largest_body=100)
    one = add(hot, stored())
    assert one is not None
    for origin, allowed in ((app, True), (None, False), (app, True), ("https://x.test", False)):
        head = found(one.rendered(200, NOW, origin))
        assert (b"Access-Control-Allow-Origin: https://app.example.com\r\n" in head) is allowed
        assert b"Vary: Origin\r\n" in head


def test_a_change_of_its_object_ends_an_entry() -> None:
    generations = Generations()
    hot = HotTable(generations, OwnHead(["*"]), limit=2**20, largest_body=100)
    response = stored()
    assert add(hot, response) is not None
    settle = generations.begin(response.meta.key)
    assert hot.get(response.meta.key) is None
    assert (len(hot), hot.size) == (0, 0)
    assert add(hot, response) is None  # nor is one made before the disk knows
    settle()
    assert add(hot, response) is not None


def test_what_was_looked_up_before_a_change_is_not_kept() -> None:
    generations = Generations()
    hot = HotTable(generations, OwnHead(["*"]), limit=2**20, largest_body=100)
    response = stored()
    known = hot.generation(response.meta.key)
    generations.begin(response.meta.key)()
    hot.add(response, known, lambda: b"x" * 10)
    assert hot.get(response.meta.key) is None


def test_bytes_are_bounded_and_the_least_recent_goes_first() -> None:
    hot = table(limit=3 * (ENTRY + 20))
    a, b, c, d = (stored(name) for name in "abcd")
    for response in (a, b, c):
        add(hot, response)
    hot.get(a.meta.key)
    add(hot, d)
    kept = [response for response in (a, b, c, d) if hot.get(response.meta.key)]
    assert kept == [a, c, d]
    assert hot.size == 3 * (ENTRY + 20)
    add(hot, a)  # again: nothing counts twice
    assert hot.size == 3 * (ENTRY + 20)


@pytest.mark.parametrize("limit", [0, ENTRY])
def test_a_limit_that_nothing_fits_into_keeps_nothing(limit: int) -> None:
    hot = table(limit=limit)
    assert add(hot, stored()) is None
    assert (len(hot), hot.size) == (0, 0)


def test_of_a_large_object_only_the_304_is_kept() -> None:
    one = add(table(largest_body=9), stored())
    assert one is not None
    assert one.body is None
    assert b" 304 " in found(one.rendered(304, NOW, None))


def test_a_body_comes_to_an_entry_that_has_none() -> None:
    hot, response = table(), stored()
    one = add(hot, response, body=False)
    assert one is not None
    assert one.body is None
    again = add(hot, response)
    assert again is one
    assert found(again.rendered(200, NOW, None)).endswith(b"x" * 10)


def test_uses_are_told_once() -> None:
    hot = table()
    one, two = add(hot, stored("a")), add(hot, stored("b"))
    assert one is not None
    assert two is not None
    for used in (one, two, one):
        hot.use(used)
    assert list(hot.uses()) == [(one.stored, 2), (two.stored, 1)]
    assert list(hot.uses()) == []
