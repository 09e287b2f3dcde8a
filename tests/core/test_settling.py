from dataclasses import replace

import pytest

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.core.settling import Changes, settles_in

KEY = ObjectKey("volume", "outputs/clip.mp4")
META = ObjectMeta(
    key=KEY,
    etag='"a"',
    origin_etag='"a"',
    length=6,
    last_modified=1000,
    date=None,
    request_time=0,
    response_time=0,
    headers=(),
)


@pytest.mark.parametrize(
    ("last_modified", "date", "response_time", "seconds"),
    [
        (1000, 1000, 0.0, 10),
        (1000, 1003, 0.0, 7),
        (1000, 1009, 0.0, 1),
        (1000, 1010, 0.0, 0),
        (1000, 99_999, 1003.0, 0),  # the origin's clock goes before ours
        (1000, None, 1003.5, 6.5),
        (1000, None, 1010.0, 0),
        (None, 1000, 1000.0, 0),
        (1004, 1000, 0.0, 10),  # by two clocks of the origin's
        (1010, 1000, 0.0, 0),  # no time of a change
        (9_999_999, 1000, 0.0, 0),
    ],
)
def test_by_the_last_change_that_the_origin_tells_of(
    last_modified: int | None, date: int | None, response_time: float, seconds: float
) -> None:
    meta = replace(META, last_modified=last_modified, date=date, response_time=response_time)
    assert settles_in(meta, 10, changed=None, now=5e9) == seconds


@pytest.mark.parametrize(
    ("changed", "seconds"),
    [(500.0, 10), (496.5, 6.5), (490.0, 0), (None, 0), (501.0, 10), (600.0, 0)],
)
def test_by_the_last_change_that_was_seen(changed: float | None, seconds: float) -> None:
    meta = replace(META, last_modified=None)
    assert settles_in(meta, 10, changed=changed, now=500.0) == seconds


def test_the_later_change_counts() -> None:
    meta = replace(META, date=1003)
    assert settles_in(meta, 10, changed=492.0, now=500.0) == 7
    assert settles_in(meta, 10, changed=499.0, now=500.0) == 9


def test_no_time_to_settle_is_none() -> None:
    assert settles_in(replace(META, date=1000), 0, changed=500.0, now=500.0) == 0


def test_the_oldest_changes_are_forgotten() -> None:
    changes = Changes(limit=2)
    keys = [ObjectKey("volume", str(number)) for number in range(3)]
    changes.note(keys[0], 1.0)
    changes.note(keys[1], 2.0)
    changes.note(keys[0], 3.0)
    changes.note(keys[2], 4.0)
    assert [changes.last(key) for key in keys] == [3.0, None, 4.0]
