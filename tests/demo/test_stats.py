"""/api/stats, read."""

from edgecache.demo.stats import Stats

ANSWER = {
    "version": "1.0",
    "uptime": 3.5,
    "requests": {"hit": 6, "partial": 1, "miss": 2, "revalidated": 0, "bypass": 0, "error": 1},
    "hit_ratio": 0.6667,
    "bytes": {"client": 900, "origin": 300, "saved": 600},
    "dollars": {"avoided": 0.0012, "incurred": 0.0},
    "cache": {"size": 4096, "limit": 10**6, "slices": 3},
}


def test_parse() -> None:
    assert Stats.parse(ANSWER) == Stats(
        requests=10,
        client_bytes=900,
        origin_bytes=300,
        saved_bytes=600,
        dollars_avoided=0.0012,
        hit_ratio=0.6667,
    )
