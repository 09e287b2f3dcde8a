"""What is asked of every policy; what is one's own is in its own file."""

import pytest

from edgecache.core.model import SliceKey
from edgecache.core.policies import POLICIES, make_policy
from edgecache.core.policy import GOES_FIRST, Policy, Taken, name_of
from edgecache.core.policy import key_of as of_name
from tests.core.policy_keys import key_of, loaded

A, B, C, D, E = (key_of("v", number) for number in range(5))
NOW = 1_800_000_000.0
MINUTE = 60.0


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    return make_policy(str(request.param), 30)


def fill(policy: Policy, *keys: SliceKey, pinned: bool = False) -> None:
    for key in keys:
        assert policy.add(key, 10, NOW, pinned=pinned) == {}


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        make_policy("fifo")


def test_of_slices_asked_for_once_the_oldest_goes_first(policy: Policy) -> None:
    fill(policy, A, B, C)
    assert policy.add(D, 20, NOW) == {A: 10, B: 10}
    assert [key in policy for key in (A, B, C, D)] == [False, False, True, True]
    assert (len(policy), policy.size) == (2, 30)


def test_what_is_used_again_stays(policy: Policy) -> None:
    fill(policy, A, B, C)
    policy.access(A, NOW + MINUTE)
    assert policy.add(D, 20, NOW + MINUTE) == {B: 10, C: 10}


def test_using_what_is_not_there_changes_nothing(policy: Policy) -> None:
    fill(policy, A, B)
    policy.access(D, NOW)
    policy.demote(D)
    assert (policy.remove(D), D in policy, len(policy), policy.size) == (0, False, 2, 20)
    assert policy.popularity(D) is None


def test_a_demoted_slice_goes_first_even_when_used(policy: Policy) -> None:
    fill(policy, A, B, C)
    policy.demote(C)
    policy.demote(B)
    policy.demote(C)
    policy.access(C, NOW + MINUTE)
    assert list(policy.add(D, 30, NOW + MINUTE)) == [C, B, A]


def test_a_demoted_slice_that_comes_again_is_like_others(policy: Policy) -> None:
    fill(policy, A, B)
    policy.demote(B)
    policy.add(B, 10, NOW)
    policy.access(B, NOW + MINUTE)
    assert list(policy.add(D, 20, NOW + MINUTE)) == [A]


def test_a_pinned_slice_goes_last_but_goes(policy: Policy) -> None:
    fill(policy, A, pinned=True)
    fill(policy, B, C)
    for minute in range(1, 20):
        policy.access(B, NOW + minute * MINUTE)
        policy.access(C, NOW + minute * MINUTE)
    assert list(policy.add(D, 20, NOW + 20 * MINUTE)) == [B, C]
    assert list(policy.add(E, 30, NOW + 20 * MINUTE)) == [D, A]


def test_a_pinned_slice_stays_pinned_when_used_and_goes_first_when_demoted(policy: Policy) -> None:
    fill(policy, A, pinned=True)
    fill(policy, B, C)
    policy.access(A, NOW + MINUTE)
    assert list(policy.add(D, 20, NOW)) == [B, C]
    policy.demote(A)
    assert list(policy.add(E, 10, NOW)) == [A]


def test_what_is_larger_than_the_limit_changes_nothing(policy: Policy) -> None:
    fill(policy, A, B)
    with pytest.raises(ValueError, match="do not fit"):
        policy.add(C, 31, NOW)
    assert (len(policy), policy.size, A in policy, C in policy) == (2, 20, True, False)


def test_a_slice_may_take_all_of_a_tiny_cache(policy: Policy) -> None:
    policy.shrink(1)
    for number in range(5):
        assert policy.add(key_of("v", number), 1, NOW) == (
            {key_of("v", number - 1): 1} if number else {}
        )


def test_a_limit_of_nothing_holds_nothing(policy: Policy) -> None:
    policy.shrink(-1)
    with pytest.raises(ValueError, match="do not fit"):
        policy.add(A, 1, NOW)
    assert (len(policy), policy.size) == (0, 0)


def test_a_lower_limit_evicts_and_a_higher_one_makes_room(policy: Policy) -> None:
    fill(policy, A, B, C)
    assert policy.shrink(15) == {A: 10, B: 10}
    assert policy.shrink(40) == {}
    fill(policy, A, B, D)
    assert policy.size == 40


def test_adding_again_replaces(policy: Policy) -> None:
    fill(policy, A, B)
    assert policy.add(A, 20, NOW) == {}
    assert (len(policy), policy.size, policy.remove(A)) == (2, 30, 20)


def test_a_restart_keeps_the_order_and_the_counts(policy: Policy) -> None:
    fill(policy, A, B, C)
    policy.access(A, NOW + MINUTE)
    policy.access(B, NOW + 2 * MINUTE)
    saved = {key: (count, priority) for key, count, priority in policy.changed()}
    assert set(saved) == {A, B, C}
    assert saved == {key: policy.popularity(key) for key in (A, B, C)}

    again = type(policy)()
    again.load(loaded(key, 10, *saved[key]) for key in (B, A, C))
    assert list(again.changed()) == []
    assert [again.popularity(key) for key in (A, B)] == [saved[A], saved[B]]
    assert list(again.shrink(20)) == list(policy.shrink(20)) == [C]


def test_after_a_restart_what_is_unknown_counts_as_asked_for_once(policy: Policy) -> None:
    pinned = key_of("pinned", 0)
    policy.load([loaded(key, 10, 0, 0.0) for key in (A, pinned, B)], pinned={pinned.version})
    assert list(policy.shrink(0)) == [A, B, pinned]


def test_what_was_demoted_still_goes_first_after_a_restart(policy: Policy) -> None:
    fill(policy, A, B, C)
    policy.access(C, NOW + MINUTE)
    policy.demote(C)
    saved = {key: (count, priority) for key, count, priority in policy.changed()}
    assert saved[C][1] == GOES_FIRST
    again = type(policy)()
    again.load((loaded(key, 10, *saved[key]) for key in (A, B, C)), policy.age)
    again.access(C, NOW + 2 * MINUTE)
    assert list(again.shrink(0)) == [C, A, B]


def test_a_restart_tells_of_later_slices_and_of_what_was_demoted(policy: Policy) -> None:
    only, first = key_of("only", 0), key_of("demoted", 0)
    later = key_of("later", 7)
    slices = [loaded(key, 10, 1, 5.0) for key in (A, B, C, only, later)]
    taken = policy.load([*slices, loaded(first, 10, 1, GOES_FIRST)], 5.0)
    assert taken == Taken({A.version: 2, later.version: 1}, {first.version})
    assert policy.load([]) == Taken({}, set())
    assert (len(policy), policy.size) == (0, 0)


def test_a_name_is_a_key_s() -> None:
    key = key_of("v", 2**32 - 1)
    assert len(name_of(key)) == 20
    assert of_name(name_of(key)) == key


def test_a_restart_may_find_more_than_fits(policy: Policy) -> None:
    policy.load(loaded(key, 10, 1, 5.0) for key in (A, B, C, D, E))
    assert policy.size == 50
    assert policy.shrink(30) == {A: 10, B: 10}


def test_changes_are_told_once_and_not_of_what_is_gone(policy: Policy) -> None:
    fill(policy, A, B, C)
    policy.remove(B)
    policy.add(D, 20, NOW)
    assert {key for key, _, _ in policy.changed()} == {C, D}
    assert list(policy.changed()) == []
    policy.access(C, NOW + MINUTE)
    assert [(key, count) for key, count, _ in policy.changed()] == [(C, 2)]


def test_where_writes_are_dear_the_second_request_is_worth_one(policy: Policy) -> None:
    assert [policy.admits(A, 2**20), policy.admits(A, 2**20)] == [False, True]


def test_a_small_slice_is_always_worth_a_write(policy: Policy) -> None:
    assert [policy.admits(A, 2**20 - 1), policy.admits(A, 2**20)] == [True, False]


def test_what_was_refused_is_forgotten_in_time(policy: Policy) -> None:
    assert not policy.admits(A, 2**20)
    for number in range(3000):
        assert not policy.admits(key_of("w", number), 2**20)
    assert not policy.admits(A, 2**20)
