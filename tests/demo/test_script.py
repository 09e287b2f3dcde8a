"""What the visitors ask for."""

import pytest

from edgecache.core.model import ByteSpan
from edgecache.demo.samples import CLIP, IMAGES, PAGE, VIDEO, boxes, load
from edgecache.demo.script import Ask, Step, write_script


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    return load()


@pytest.fixture(scope="module")
def script(objects: dict[str, bytes]) -> dict[str, Step]:
    return {step.title: step for step in write_script(objects)}


@pytest.mark.parametrize(
    ("ask", "field", "span"),
    [
        (Ask(key="k"), "", ByteSpan(0, 100)),
        (Ask(key="k", first=0), "bytes=0-", ByteSpan(0, 100)),
        (Ask(key="k", first=10, last=19), "bytes=10-19", ByteSpan(10, 20)),
    ],
)
def test_ask(ask: Ask, field: str, span: ByteSpan) -> None:
    assert (ask.range, ask.span(100)) == (field, span)


def test_three_visitors_open_the_whole_gallery(script: dict[str, Step]) -> None:
    asked = [ask.key for ask in script["Gallery, 3 visitors"].asks]
    assert asked == [*PAGE, *PAGE, *PAGE]


def test_a_player_begins_leaves_and_gets_the_index_from_the_end(
    script: dict[str, Step], objects: dict[str, bytes]
) -> None:
    begin, index, _ = script["Video starts"].asks
    assert begin.range == "bytes=0-"
    assert begin.leave_after is not None
    assert index.span(len(objects[VIDEO])) == boxes(objects[VIDEO])["moov"]


def test_seeks_stay_inside_the_video(script: dict[str, Step], objects: dict[str, bytes]) -> None:
    length = len(objects[VIDEO])
    assert all(ask.last is not None and ask.last < length for ask in script["Seeks"].asks)


def test_the_clip_is_new_when_the_crowd_comes(script: dict[str, Step]) -> None:
    steps = list(script.values())
    crowd = script["New clip, 20 at once"]
    assert crowd.together
    assert {ask.key for ask in crowd.asks} == {CLIP}
    earlier = [ask.key for step in steps[: steps.index(crowd)] for ask in step.asks]
    assert CLIP not in earlier


def test_what_is_revalidated_was_seen_before(script: dict[str, Step]) -> None:
    *_, earlier, last = script.values()
    assert all(ask.revalidate for ask in last.asks)
    assert {ask.key for ask in last.asks} == {*IMAGES, VIDEO}
    assert {ask.key for ask in last.asks} <= {a.key for s in script.values() for a in s.asks}
    assert not any(ask.revalidate for ask in earlier.asks)
