import pytest

from edgecache.config import Config
from edgecache.core.errors import BadTarget, Forbidden
from edgecache.core.model import ObjectKey
from edgecache.web.routing import REMEMBERED, Router

ORIGIN = {"endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"}


def router(**sections: object) -> Router:
    one = {"one": ORIGIN | {"bucket": "bucket-one"}}
    return Router(Config(**({"origins": one, "access": {"public": [""]}} | sections)))  # type: ignore[arg-type]


TWO = {
    "origins": {
        "one": ORIGIN | {"bucket": "bucket-one"},
        "two": ORIGIN | {"bucket": "bucket-two"},
    },
    "routes": [
        {"path": "/", "origin": "one", "ttl": 1},
        {"path": "/live/", "origin": "two", "ttl": 2},
        {"path": "/live/old/", "origin": "one", "ttl": 3},
    ],
}


@pytest.mark.parametrize(
    ("target", "origin", "key", "label", "ttl"),
    [
        ("/a.png", "one", "a.png", "/", 1),
        ("/live/a.png", "two", "live/a.png", "/live/", 2),
        ("/live/old/a.png", "one", "live/old/a.png", "/live/old/", 3),  # the longest decides
        ("/live", "one", "live", "/", 1),
        ("/lively/a.png", "one", "lively/a.png", "/", 1),
        ("/%6cive/a.png", "two", "live/a.png", "/live/", 2),  # by the key, not by its spelling
        ("/live%2fa.png", "two", "live/a.png", "/live/", 2),
        ("/api/media/s3/live%2fa.png", "two", "live/a.png", "/live/", 2),
        ("/a.png?path=/live/", "one", "a.png", "/", 1),
        # path style names the origin; then only its own routes count
        ("/bucket-one/a.png", "one", "a.png", "/", 1),
        ("/bucket-one/live/a.png", "one", "live/a.png", "/", 1),
        ("/bucket-one/live/old/a.png", "one", "live/old/a.png", "/live/old/", 3),
        ("/bucket-two/live/a.png", "two", "live/a.png", "/live/", 2),
        ("/bucket-two/live/old/a.png", "two", "live/old/a.png", "/live/", 2),
        ("/bucket-two/a.png", "two", "a.png", "/", 3600),  # none of its routes: the defaults
        ("/bucket-three/a.png", "one", "bucket-three/a.png", "/", 1),
    ],
)
def test_where_a_target_leads(target: str, origin: str, key: str, label: str, ttl: float) -> None:
    found, route = router(**TWO).resolve(target)
    assert found == ObjectKey(origin, key)
    assert (route.label, route.ttl) == (label, ttl)


def test_a_route_without_an_origin_leads_to_the_only_one() -> None:
    found, route = router().resolve("/a.png")
    assert found == ObjectKey("one", "a.png")
    assert (route.label, route.ttl, route.browser_ttl) == ("/", 3600, 365 * 86400)


def test_the_routes_settings() -> None:
    made = router(
        freshness={"ttl": "5m"},
        routes=[{"path": "/a/"}, {"path": "/b/", "ttl": 0, "browser_ttl": "1h"}],
    )
    routes = [made.resolve(target)[1] for target in ("/a/x", "/b/x", "/c/x")]
    assert [(one.label, one.ttl, one.browser_ttl) for one in routes] == [
        ("/a/", 300, 365 * 86400),
        ("/b/", 0, 3600),
        ("/", 300, 365 * 86400),
    ]


@pytest.mark.parametrize(
    ("public", "target", "served"),
    [
        (["outputs/"], "/outputs/a.png", True),
        (["outputs/"], "/models/a.bin", False),
        (["outputs/"], "/bucket-one/outputs/a.png", True),
        (["outputs/"], "/bucket-one/models/a.bin", False),
        (["outputs/", "thumbs/"], "/thumbs/a.png", True),
        ([""], "/anything", True),
        ([], "/outputs/a.png", False),
    ],
)
def test_what_is_public(public: list[str], target: str, served: bool) -> None:
    made = router(access={"public": public})
    if served:
        assert made.resolve(target)
    else:
        with pytest.raises(Forbidden):
            made.resolve(target)


def test_what_is_no_key_is_refused_before_anything_else() -> None:
    with pytest.raises(BadTarget):
        router(access={"public": []}).resolve("/outputs/../x")


def test_it_remembers_a_bounded_number_of_targets() -> None:
    made = router()
    for n in range(REMEMBERED + 10):
        made.resolve(f"/{n}")
    assert made.resolve.cache_info().currsize == REMEMBERED


def test_a_route_has_its_tags() -> None:
    routed = router(routes=[{"path": "/"}, {"path": "/outputs/", "tags": ["Media", "v 2"]}])
    assert routed.resolve("/outputs/a.png")[1].tags == ("media", "v 2")
    assert routed.resolve("/other/a.png")[1].tags == ()
