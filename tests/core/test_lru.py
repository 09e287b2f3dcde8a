"""What is LRU's own; what every policy does is in test_policies.py."""

import random

from edgecache.core.lru import LruPolicy
from edgecache.core.model import SliceKey
from edgecache.core.policy import Popularity
from tests.core.policy_keys import key_of, loaded

A, B, C = (key_of("v", number) for number in range(3))


def test_its_repr_says_how_it_stands() -> None:
    policy = LruPolicy(20)
    policy.add(A, 10, 1.0)
    assert repr(policy) == "<LruPolicy: 1 slices, 10 of 20 bytes>"


def test_every_use_counts_and_the_last_one_is_the_priority() -> None:
    policy = LruPolicy(20)
    policy.add(A, 10, 1.0)
    policy.access(A, 2.0, count=3)
    assert policy.popularity(A) == Popularity(4, 2.0)


def test_after_a_restart_the_order_is_that_of_the_last_use() -> None:
    policy = LruPolicy(30)
    policy.load([loaded(A, 10, 9, 3.0), loaded(B, 10, 1, 2.0), loaded(C, 10, 0, 9.0)])
    assert list(policy.shrink(0)) == [C, B, A]


def test_the_books_agree_with_a_model() -> None:
    """Ten thousand random steps against a list of (key, size), oldest first."""
    choose = random.Random(1)
    policy, model, demoted = LruPolicy(1000), dict[SliceKey, int](), dict[SliceKey, int]()
    for now in range(10_000):
        key = SliceKey("v", choose.randrange(40))
        match choose.randrange(10):
            case 0:
                assert policy.remove(key) == model.pop(key, 0) + demoted.pop(key, 0)
            case 1:
                policy.demote(key)
                if key in model:
                    demoted[key] = model.pop(key)
            case 2 | 3 | 4 | 5:
                policy.access(key, now)
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
                assert policy.add(key, size, now) == expected
                model[key] = size
        assert policy.size == sum(model.values()) + sum(demoted.values()) <= 1000
        assert len(policy) == len(model) + len(demoted)
