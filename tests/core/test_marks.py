"""Which stored responses a purge concerns: those asked for before it, by number."""

from dataclasses import replace

import pytest

from edgecache.core.marks import MOST_MARKS, Kind, Mark, Marks, Purges, Target, judged
from edgecache.core.model import ObjectKey, ObjectMeta
from tests.slices import meta_of

A = ObjectKey("a", "outputs/cat/1.png")
PREFIX = Target(Kind.PREFIX, "outputs/cat/")
TAG = Target(Kind.TAG, "cat")


def stored(key: ObjectKey = A, *, epoch: int = 0, tags: tuple[str, ...] = ()) -> ObjectMeta:
    return replace(meta_of(), key=key, epoch=epoch, tags=tags)


@pytest.mark.parametrize(
    ("target", "tags", "is_meant"),
    [
        (Target(Kind.ALL), (), True),
        (Target(Kind.ALL, origin="a"), (), True),
        (Target(Kind.ALL, origin="b"), (), False),
        (PREFIX, (), True),
        (Target(Kind.PREFIX, "outputs/ca"), (), True),
        (Target(Kind.PREFIX, "outputs/c_t"), (), False),
        (Target(Kind.PREFIX, "outputs/", "b"), (), False),
        (Target(Kind.KEY, A.key), (), True),
        (Target(Kind.KEY, "outputs/cat/1"), (), False),
        (TAG, ("dog", "cat"), True),
        (TAG, ("cats",), False),
        (TAG, (), False),
        (Target(Kind.TAG, "cat", "b"), ("cat",), False),
    ],
)
def test_whom_a_target_means(target: Target, tags: tuple[str, ...], is_meant: bool) -> None:
    assert target.matches(A, tags) == is_meant
    assert target.may_match(A) or not is_meant


def test_a_tag_may_mean_any_key_of_its_origin() -> None:
    assert TAG.may_match(A)
    assert not Target(Kind.TAG, "cat", "b").may_match(A)


def test_what_was_asked_for_after_the_mark_is_not_concerned() -> None:
    mark = Mark(5, PREFIX)
    assert [mark.concerns(stored(epoch=epoch)) for epoch in (0, 4, 5, 6)] == [
        *(True, True, False, False)
    ]


def test_a_hard_mark_kills_a_soft_one_makes_stale() -> None:
    hard, soft, other = Mark(2, PREFIX), Mark(1, PREFIX, soft=True), Mark(3, TAG)
    meta = stored()
    assert judged(meta, [other]) == meta
    assert judged(meta, [soft, other]) == replace(meta, stale=True)
    assert judged(meta, [soft, hard]) is judged(meta, [hard, soft]) is None
    assert judged(stored(epoch=1), [soft]) == stored(epoch=1)
    stale = replace(meta, stale=True)
    assert judged(stale, [soft]) is stale


def test_marks_count_on_over_a_restart() -> None:
    marks = Marks()
    first = marks.add(PREFIX, soft=False)
    again = Marks()
    again.load(7, [first])
    second = again.add(TAG, soft=True)
    assert (second.number, list(again), len(again)) == (8, [first, second], 2)
    again.load(3, [])  # a disk that came back: what it does not know stays
    assert (again.last, len(again)) == (8, 2)
    again.remove(first)
    again.remove(first)
    assert list(again) == [second]


def test_a_purge_without_a_mark_takes_a_number_too() -> None:
    marks = Marks()
    marks.count()
    mark = marks.add(PREFIX, soft=False)
    assert mark.number == 2
    assert marks.judged(stored(epoch=1)) is None
    assert marks.judged(stored(epoch=2)) is not None


def test_so_many_marks_are_the_most() -> None:
    marks = Marks()
    for _ in range(MOST_MARKS):
        assert not marks.full
        marks.add(TAG, soft=False)
    assert marks.full
    assert Marks().judged(stored()) == stored()


def test_who_asked_before_a_purge_learns_of_it() -> None:
    purges = Purges(limit=2)
    before = purges.count
    assert not purges.concern(A, before)
    purges.add(TAG)
    assert purges.concern(A, before)  # it may have the tag
    assert purges.concern(A, before, {"cat"})
    assert not purges.concern(A, before, {"dog"})
    assert not purges.concern(A, purges.count, {"cat"})
    purges.add(Target(Kind.KEY, "outputs/other.png", "a"))
    assert not purges.concern(A, before, {"dog"})


def test_a_purge_that_nobody_remembers_counts_as_meant() -> None:
    purges = Purges(limit=2)
    for _ in range(3):
        purges.add(Target(Kind.KEY, "outputs/other.png"))
    assert purges.concern(A, 0)
    assert not purges.concern(A, 1)
