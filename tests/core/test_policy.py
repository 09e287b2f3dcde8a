import random

import pytest

from edgecache.core.model import SliceKey
from edgecache.core.policy import LruPolicy

A, B, C, D = (SliceKey("v", number) for number in range(4))


def full(*keys: SliceKey) -> LruPolicy:
    policy = LruPolicy(10 * len(keys))
    for key in keys:
        assert policy.add(key, 10) == {}
    return policy


def test_the_least_recently_used_goes_first() -> None:
    policy = full(A, B, C)
    policy.access(A)
    assert policy.add(D, 10) == {B: 10}
    assert [key in policy for key in (A, B, C, D)] == [True, False, True, True]


def test_as_many_go_as_the_new_one_needs() -> None:
    assert full(A, B, C).add(D, 25) == {A: 10, B: 10, C: 10}
    assert full(A, B, C).add(D, 20) == {A: 10, B: 10}


def test_a_demoted_one_goes_first_even_when_used() -> None:
    policy = full(A, B, C)
    policy.demote(C)
    policy.access(C)
    assert list(policy.add(D, 20)) == [C, A]


def test_demoted_ones_go_in_the_order_of_demotion() -> None:
    policy = full(A, B, C)
    policy.demote(C)
    policy.demote(A)
    assert list(policy.add(D, 20)) == [C, A]


def test_what_is_larger_than_the_limit_changes_nothing() -> None:
    policy = full(A, B)
    with pytest.raises(ValueError, match="do not fit"):
        policy.add(C, 21)
    assert (len(policy), policy.size, A in policy, C in policy) == (2, 20, True, False)


def test_added_again_it_counts_once_and_is_the_newest() -> None:
    policy = full(A, B, C)
    assert policy.add(A, 5) == {}
    assert policy.size == 25
    assert policy.add(D, 10) == {B: 10}


def test_added_again_it_is_no_longer_demoted() -> None:
    policy = full(A, B)
    policy.demote(B)
    policy.add(B, 10)
    assert policy.add(C, 10) == {A: 10}


def test_removed_is_unknown() -> None:
    policy = full(A, B)
    policy.demote(B)
    assert [policy.remove(A), policy.remove(A), policy.remove(B)] == [10, 0, 10]
    assert (len(policy), policy.size) == (0, 0)


def test_the_unknown_is_neither_accessed_nor_demoted() -> None:
    policy = full(A)
    policy.access(B)
    policy.demote(B)
    assert B not in policy


def test_a_lower_limit_has_victims_a_higher_one_has_none() -> None:
    policy = full(A, B, C)
    assert policy.shrink(29) == {A: 10}
    assert policy.shrink(30) == {}
    assert policy.shrink(-1) == {B: 10, C: 10}


def test_its_repr_says_how_it_stands() -> None:
    assert repr(full(A, B)) == "<LruPolicy: 2 slices, 20 of 20 bytes>"


def test_the_books_agree_with_a_model() -> None:
    """Ten thousand random steps against a list of (key, size), oldest first."""
    choose = random.Random(1)
    policy, model, demoted = LruPolicy(1000), dict[SliceKey, int](), dict[SliceKey, int]()
    for _ in range(10_000):
        key = SliceKey("v", choose.randrange(40))
        match choose.randrange(10):
            case 0:
                assert policy.remove(key) == model.pop(key, 0) + demoted.pop(key, 0)
            case 1:
                policy.demote(key)
                if key in model:
                    demoted[key] = model.pop(key)
            case 2 | 3 | 4 | 5:
                policy.access(key)
                if key in model:
                    model[key] = model.pop(key)
            case _:
                size = choose.randrange(1, 200)
                model.pop(key, None)
                demoted.pop(key, None)
                expected = {}
                while sum(model.values()) + sum(demoted.values()) + size > 1000:
                    books = demoted or model
                    victim = next(iter(books))
                    expected[victim] = books.pop(victim)
                assert policy.add(key, size) == expected
                model[key] = size
        assert policy.size == sum(model.values()) + sum(demoted.values()) <= 1000
        assert len(policy) == len(model) + len(demoted)
