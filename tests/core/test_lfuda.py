"""What is LFUDA-C's own; what every policy does is in test_policies.py."""

import tracemalloc
from random import Random

import pytest

from edgecache.core import lfuda
from edgecache.core.lfuda import LfudaPolicy
from edgecache.core.lru import LruPolicy
from edgecache.core.model import SliceKey
from edgecache.core.policy import Loaded, Policy
from edgecache.core.policy import key_of as key_of_name
from tests.core.policy_keys import key_of, loaded

MIB = 2**20
NOW = 1_800_000_000.0
MINUTE = 60.0
A, B, C, D = (key_of("v", number) for number in range(4))


def of_mib(slices: int) -> LfudaPolicy:
    return LfudaPolicy(slices * MIB)


def count(policy: LfudaPolicy, key: SliceKey) -> int:
    known = policy.popularity(key)
    assert known is not None
    return known.count


def priority(policy: LfudaPolicy, key: SliceKey) -> float:
    known = policy.popularity(key)
    assert known is not None
    return known.priority


def test_its_repr_says_how_it_stands() -> None:
    policy = of_mib(2)
    policy.add(A, 10, NOW)
    assert repr(policy) == "<LfudaPolicy: 1 slices, 10 of 2097152 bytes>"


def test_priority_is_of_count_and_size() -> None:
    policy = of_mib(9)
    policy.add(A, MIB, NOW)
    policy.add(B, 64 * 2**10, NOW)
    policy.add(C, 1, NOW)  # as 4 KiB
    assert [priority(policy, key) for key in (A, B, C)] == [17 / 32, 1, 8.5]
    policy.access(A, NOW + MINUTE)
    assert priority(policy, A) == pytest.approx(3 * 17 / 32, abs=1 / 64)


def test_the_least_frequently_used_goes_first() -> None:
    policy = of_mib(3)
    for key, uses in [(A, 3), (B, 1), (C, 2)]:
        for minute in range(uses):
            policy.add(key, MIB, NOW) if not minute else policy.access(key, NOW + minute * MINUTE)
    assert list(policy.shrink(0)) == [B, C, A]


def test_small_slices_are_dearer() -> None:
    policy = of_mib(2)
    policy.add(A, 48 * 2**10, NOW)
    policy.add(B, MIB, NOW)
    assert list(policy.add(C, MIB, NOW)) == [B]


def test_hits_within_a_minute_are_one() -> None:
    """A player asks for one slice again and again; that is one viewer."""
    policy = of_mib(2)
    policy.add(A, MIB, NOW)
    for second in range(60):
        policy.access(A, NOW + second, count=7)
    assert count(policy, A) == 1
    policy.access(A, NOW + 60)
    policy.access(A, NOW + 119)
    assert count(policy, A) == 2


def test_a_clock_that_was_set_back_counts_on() -> None:
    policy = of_mib(2)
    policy.add(A, MIB, NOW)
    policy.access(A, NOW - 3600)
    assert count(policy, A) == 2


def test_what_was_seen_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lfuda, "MOST_SEEN", 100)
    policy = of_mib(2)
    for number in range(300):
        policy.add(key_of("v", number), MIB, NOW)
        assert len(policy._seen) + len(policy._seen_before) <= 200


def test_the_count_has_a_cap() -> None:
    policy = of_mib(2)
    policy.add(A, MIB, NOW)
    for minute in range(40):
        policy.access(A, NOW + minute * MINUTE)
    assert count(policy, A) == 15


def test_what_was_popular_once_goes_in_time() -> None:
    policy = of_mib(10)
    policy.add(A, MIB, NOW)
    for minute in range(1, 16):
        policy.access(A, NOW + minute * MINUTE)
    added = 0
    while A in policy:
        policy.add(key_of("cold", added), MIB, NOW + 20 * MINUTE)
        added += 1
    assert 28 * 9 <= added <= 30 * 10  # about 29 turnovers: each raises the age by half a hit


def test_the_count_of_what_is_gone_is_remembered() -> None:
    policy = of_mib(1)
    policy.add(A, MIB, NOW)
    policy.access(A, NOW + MINUTE)
    assert list(policy.add(B, MIB, NOW + MINUTE)) == [A]
    policy.add(A, MIB, NOW + 2 * MINUTE)
    assert count(policy, A) == 3


def test_what_is_superseded_is_not_remembered() -> None:
    policy = of_mib(1)
    policy.add(A, MIB, NOW)
    policy.access(A, NOW + MINUTE)
    policy.demote(A)
    policy.add(B, MIB, NOW + MINUTE)
    policy.add(A, MIB, NOW + 2 * MINUTE)
    assert count(policy, A) == 1


def test_a_slice_that_comes_again_keeps_its_count() -> None:
    policy = of_mib(2)
    policy.add(A, MIB, NOW)
    policy.access(A, NOW + MINUTE)
    policy.add(A, MIB, NOW + MINUTE)
    assert (count(policy, A), len(policy)) == (2, 1)


def test_a_small_slice_is_always_worth_a_write_and_asking_forgets_nothing() -> None:
    policy = of_mib(1)
    assert policy.admits(A, MIB - 1)
    assert [policy.admits(B, MIB), policy.admits(B, MIB), policy.admits(B, MIB)] == [
        False,
        True,
        True,
    ]
    policy.add(B, MIB, NOW)
    assert count(policy, B) == 2


def test_a_restart_goes_on_with_the_ages() -> None:
    policy = of_mib(3)
    for number in range(50):
        policy.add(key_of("cold", number), MIB, NOW)
    kept = [key_of("cold", number) for number in (47, 48, 49)]
    policy.access(kept[0], NOW + MINUTE)
    saved = [loaded(key, MIB, count(policy, key), priority(policy, key)) for key in kept]
    again = of_mib(0)
    again.load(saved, policy.age)
    assert again.age == policy.age > 0
    again.shrink(3 * MIB)
    for one in (policy, again):
        assert list(one.add(A, MIB, NOW + MINUTE)) == [kept[1]]
    assert priority(again, A) == pytest.approx(priority(policy, A), abs=0.05)


def test_a_pinned_slice_has_a_priority_as_others() -> None:
    policy = of_mib(2)
    policy.add(A, MIB, NOW, pinned=True)
    policy.add(B, MIB, NOW)
    assert priority(policy, A) == priority(policy, B)
    again = of_mib(2)
    other = key_of("other", 0)
    slices = [loaded(A, MIB, 1, priority(policy, A)), loaded(other, MIB, 9, 20.0)]
    again.load(slices, pinned={A.version})
    assert priority(again, A) == priority(policy, A)
    assert list(again.shrink(MIB)) == [other]


def test_priorities_that_no_age_explains_have_their_bounds() -> None:
    """Rows that another hand wrote, or of before the age."""
    policy, last = of_mib(0), key_of("pinned", 0)
    high, pinned = (loaded(key, MIB, 1, 1e12) for key in (B, last))
    policy.load([high, pinned, loaded(A, MIB, 1, 1.0)], 5.0, {last.version})
    assert priority(policy, A) == 5.0
    assert list(policy.shrink(0)) == [A, B, last]


def hit_ratios(policy: Policy) -> tuple[float, float]:
    """Of 1,000 hot slices, each asked for about once a minute, in a cache of 2,000: before and
    during an hour in which a crawler asks for 100,000 others."""
    choose = Random(1)
    hits = [0, 0]
    for minute in range(90):
        now, crawls = NOW + minute * MINUTE, minute >= 30
        for number in range(1000):
            if crawls:
                for _ in range(100_000 // 60_000 + (number % 3 != 0)):
                    policy.add(SliceKey(f"{choose.getrandbits(128):032x}", 0), MIB, now)
            key = key_of("hot", choose.randrange(1000))
            if key in policy:
                hits[crawls] += minute >= 10
                policy.access(key, now)
            else:
                policy.add(key, MIB, now)
    return hits[0] / 20_000, hits[1] / 60_000


def test_a_crawl_over_cold_keys_costs_the_hot_set_little() -> None:
    before, during = hit_ratios(of_mib(2000))
    assert before > 0.99
    assert before - during < 0.10


def test_a_crawl_is_what_lru_cannot_stand() -> None:
    """So the test above is one."""
    before, during = hit_ratios(LruPolicy(2000 * MIB))
    assert before - during > 0.25


def test_a_huge_object_takes_no_more_than_its_size() -> None:
    policy = of_mib(100)
    for number in range(100):
        policy.add(key_of("hot", number), MIB, NOW)
        policy.access(key_of("hot", number), NOW + MINUTE)
    gone: dict[SliceKey, int] = {}
    for number in range(1000):
        victims = policy.add(key_of("huge", number), MIB, NOW + MINUTE)
        assert len(victims) == 1
        gone |= victims
    assert len(gone) == 1000
    assert policy.size == 100 * MIB


def of_objects(slices: int) -> list[Loaded]:
    """Most objects have one slice, some many."""
    choose = Random(1)
    found: list[Loaded] = []
    while len(found) < slices:
        version = f"{choose.getrandbits(128):032x}"
        last = choose.choice([1, 1, 1, 1, 2, 3, 20]) - 1
        for number in range(last + 1):
            size = MIB if number < last else choose.randrange(30_000, MIB)
            count = choose.randrange(16)
            found.append(loaded(SliceKey(version, number), size, count, choose.random() * 16))
    return found


def held(slices: int) -> int:
    """Bytes of a policy in use. What is not asked for often."""
    objects = of_objects(slices)
    tracemalloc.start()
    try:
        policy = LfudaPolicy(2**50)
        policy.load(objects)
        for minute in range(4):
            for one in objects[minute:-1:8]:
                policy.access(key_of_name(one[0]), NOW + minute * MINUTE)
            policy.access(key_of_name(objects[-1][0]), NOW + (minute + 10) * MINUTE)
            policy.changed()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_slice_takes_little_memory() -> None:
    """200 bytes a slice are asked of all books. Counted for 7,500 more: the rest is fixed."""
    assert held(15_000) - held(7_500) < 170 * 7_500
