"""The two questions: can browsers read it directly, and what would be saved."""

import pytest

from edgecache.config import Costs
from edgecache.config_quirks import Quirks
from edgecache.doctor.patient import Learnt
from edgecache.doctor.verdict import Traffic, quirks, verdict

COSTS = Costs(app_platform=0.21, host=0.01, origin=0.09)
RUNPOD = Learnt(public=False, presigned=False, cors=False)


@pytest.mark.parametrize(
    ("learnt", "direct", "words"),
    [
        (Learnt(), None, "Not known: nothing could be read."),
        (RUNPOD, False, "edgecache is that server"),
        (Learnt(public=True, cors=True), True, "the objects are public; images and video, scripts"),
        (Learnt(public=False, presigned=True, cors=False), True, "but not scripts"),
        (Learnt(public=False, presigned=True, cors=True), True, "by presigned URLs"),
    ],
)
def test_direct_access(learnt: Learnt, direct: bool | None, words: str) -> None:
    found = verdict(learnt, COSTS, None)
    assert found.direct is direct
    assert words in found.access


def test_dollars_of_a_thousand_gigabytes() -> None:
    found = verdict(RUNPOD, Costs(), None)
    assert (found.dollars_without, found.dollars_with) == (210, 0)
    assert found.savings == (
        "1000 GB to viewers cost $210.00 through the app's platform and $0.00 through edgecache, "
        "by costs.*."
    )


def test_dollars_of_a_log() -> None:
    traffic = Traffic(sent=10 * 10**9, distinct=2 * 10**9)
    learnt = Learnt(public=False, presigned=False, first_byte=0.08)
    found = verdict(learnt, COSTS, traffic)
    assert (found.dollars_without, found.dollars_with) == (3.0, 0.28)
    assert "The 10.00 GB of the log are 2.00 GB of different bytes, so 80% need" in found.savings
    assert found.savings.endswith("is spared the 80 ms to the first byte.")


def test_where_browsers_read_directly_the_platform_costs_nothing() -> None:
    found = verdict(Learnt(public=True), COSTS, None)
    assert (found.dollars_without, found.dollars_with) == (90, 100)
    assert "$90.00 read directly and at most $100.00 through edgecache" in found.savings


def test_an_empty_log() -> None:
    assert Traffic(sent=0, distinct=0).saved == 0


def test_what_serving_can_use() -> None:
    assert quirks(Learnt()) == Quirks()
    learnt = Learnt(path_safe="=", connections=8, if_match=False)
    assert quirks(learnt) == Quirks(path_safe="=", connections=8, if_match=False)
