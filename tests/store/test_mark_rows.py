"""Steps find all that a mark concerns, once, however keys look, and few at a time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.marks import Kind, Mark, Target
from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store import mark_rows
from edgecache.store.index import SliceIndex
from edgecache.store.mark_rows import successor
from tests.slices import meta_of

KEYS = [
    *("outputs/c", "outputs/cat", "outputs/cat/", "outputs/cat/1", "outputs/cat/%", "outputs/cat_"),
    *("outputs/cat0", "outputs/Cat/1", "outputs/cat/\U0010ffff\U0010ffffx", "outputs/cau"),
    *("outputs/cat/\ud7ff", "outputs/cat/\ue000", "inputs/cat/1"),
]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SliceIndex]:
    index = SliceIndex(tmp_path, 2**30)
    index.open()
    yield index
    index.close_reader()
    index.close()


def stored(origin: str, key: str, *tags: str, epoch: int = 0) -> ObjectMeta:
    return replace(meta_of(), key=ObjectKey(origin, key), tags=tags, epoch=epoch)


def found(index: SliceIndex, target: Target, *, number: int = 1) -> list[tuple[str, str]]:
    mark, keys = Mark(number, target), list[tuple[str, str]]()
    step = index.step(mark, "")
    while step.after is not None:
        keys += [(meta.key.origin, meta.key.key) for meta in step.metas]
        step = index.step(mark, step.after)
    return keys


@pytest.mark.parametrize("few", [False, True], ids=["at once", "few at a time"])
@pytest.mark.parametrize(
    "prefix", [*KEYS, "o", "outputs/cat/\U0010ffff", "outputs/cat/\ud7ff", "x"]
)
def test_a_prefix_means_the_keys_that_begin_so(
    index: SliceIndex, prefix: str, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if few:
        monkeypatch.setattr(mark_rows, "MOST_FOUND", 2)
        monkeypatch.setattr(mark_rows, "MOST_LOOKED_AT", 3)
    origins = ("a", "a-b", "b")
    for origin in origins:
        for key in KEYS:
            index.save_meta(stored(origin, key))
    expected = [(o, key) for o in origins for key in sorted(KEYS) if key.startswith(prefix)]
    assert found(index, Target(Kind.PREFIX, prefix)) == expected
    only = [(o, key) for o, key in expected if o == "a"]
    assert found(index, Target(Kind.PREFIX, prefix, "a")) == only


def test_all_and_one(index: SliceIndex) -> None:
    for origin in ("a", "b"):
        for key in ("1", "2"):
            index.save_meta(stored(origin, key))
    everything = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    assert found(index, Target(Kind.ALL)) == everything
    assert found(index, Target(Kind.ALL, origin="b")) == everything[2:]
    assert found(index, Target(Kind.KEY, "2")) == [("a", "2"), ("b", "2")]


def test_a_tag_is_found_among_many(index: SliceIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mark_rows, "MOST_LOOKED_AT", 7)
    for number in range(40):
        tags = ("cat",) if number in (3, 31) else (f"cat{number}", "a cat")
        index.save_meta(stored("a", f"{number:02}", *tags))
    index.save_meta(stored("b", '"cat"'))
    assert found(index, Target(Kind.TAG, "cat")) == [("a", "03"), ("a", "31")]


def test_what_was_asked_for_since_is_left(index: SliceIndex) -> None:
    index.save_meta(stored("a", "old", epoch=1))
    index.save_meta(stored("a", "new", epoch=2))
    assert found(index, Target(Kind.ALL), number=2) == [("a", "old")]
    assert index.settle(Mark(2, Target(Kind.ALL)), [ObjectKey("a", k) for k in ("old", "new")]) == 1
    assert index.load_meta(ObjectKey("a", "old")) is None
    assert index.load_meta(ObjectKey("a", "new")) is not None


def test_a_soft_mark_leaves_stale_rows(index: SliceIndex) -> None:
    meta = stored("a", "1", "cat")
    index.save_meta(meta)
    assert index.settle(Mark(1, Target(Kind.TAG, "cat"), soft=True), [meta.key]) == 1
    assert index.load_meta(meta.key) == replace(meta, stale=True)


def test_marks_outlive_the_index_that_held_them(tmp_path: Path) -> None:
    """What another index will hold was asked for after them: their numbers are not used again."""
    index = SliceIndex(tmp_path, 2**30)
    index.open()
    first, second = Mark(4, Target(Kind.ALL)), Mark(5, Target(Kind.TAG, "cat"), soft=True)
    for mark in (first, second):
        index.save_mark(mark)
    index.remove_mark(first)
    index.forget_all()
    index.close()
    assert index.open()[1:] == (0, (second,), 5)
    index.close()
    for file in tmp_path.glob("cache.db*"):
        file.unlink()
    assert index.open()[1:] == (0, (), 0)
    index.close()
    again = SliceIndex(tmp_path, 2**30)
    assert again.open()[1:] == (0, (), 5)
    again.close()


def test_a_damaged_mark_makes_the_index_unreadable(tmp_path: Path) -> None:
    """Nobody can tell what it was about: better no cache than old bytes."""
    index = SliceIndex(tmp_path, 2**30)
    index.open()
    index.save_meta(stored("a", "1"))
    index.save_mark(Mark(4, Target(Kind.ALL)))
    index._cache._sql("UPDATE Cache SET value = 'x' WHERE key LIKE 'purge:%'")
    index.close()
    index.open()
    assert index.other_versions(lambda _: False) == []
    assert (tmp_path / "broken-1").exists()
    index.close()


@pytest.mark.parametrize(
    ("prefix", "after"),
    [
        *(("a", "b"), ("a/", "a0"), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")),
        ("a\U0010fffe", "a\U0010ffff"),
    ],
)
def test_the_successor_of_a_prefix(prefix: str, after: str) -> None:
    assert successor(prefix) == after
