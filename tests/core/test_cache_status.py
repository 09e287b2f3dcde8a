import pytest

from edgecache.core.cache_status import MAX_DETAIL, CacheStatus, format_cache_status
from edgecache.core.model import Forward


@pytest.mark.parametrize(
    ("status", "text"),
    [
        # RFC 9211 §2
        (CacheStatus(), "edgecache"),
        (CacheStatus(hit=True), "edgecache; hit"),
        (CacheStatus(hit=True, ttl=3550), "edgecache; hit; ttl=3550"),
        (CacheStatus(hit=True, ttl=0), "edgecache; hit; ttl=0"),
        (CacheStatus(hit=True, ttl=-412), "edgecache; hit; ttl=-412"),
        (
            CacheStatus(
                forward=Forward.URI_MISS,
                forward_status=206,
                stored=True,
                collapsed=True,
                detail="3/5 slices",
            ),
            'edgecache; fwd=uri-miss; fwd-status=206; stored; collapsed; detail="3/5 slices"',
        ),
        (
            CacheStatus(forward=Forward.STALE, forward_status=304, ttl=60),
            "edgecache; fwd=stale; fwd-status=304; ttl=60",
        ),
        (CacheStatus(forward=Forward.PARTIAL, stored=True), "edgecache; fwd=partial; stored"),
        (CacheStatus(forward=Forward.MISS, collapsed=True), "edgecache; fwd=miss; collapsed"),
        # §2.3 to §2.5: of a forwarded request only
        (CacheStatus(hit=True, forward_status=200, stored=True, collapsed=True), "edgecache; hit"),
        # RFC 8941 §3.3.3
        (CacheStatus(detail='say "\\"'), r'edgecache; detail="say \"\\\""'),
        (CacheStatus(detail="a\r\nb\x00ü\x7f"), 'edgecache; detail="a??b???"'),
        (CacheStatus(detail="x" * 1000), f'edgecache; detail="{"x" * MAX_DETAIL}"'),
    ],
)
def test_cache_status(status: CacheStatus, text: str) -> None:
    assert format_cache_status(status) == text


@pytest.mark.parametrize("forward", Forward)
def test_every_reason_is_a_token(forward: Forward) -> None:
    assert format_cache_status(CacheStatus(forward=forward)) == f"edgecache; fwd={forward.value}"


def test_a_hit_was_not_forwarded() -> None:
    with pytest.raises(ValueError, match="a hit is not forwarded"):
        CacheStatus(hit=True, forward=Forward.MISS)
