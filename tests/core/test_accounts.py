"""What objects cost and gave: sums, within a bound, and nothing where nothing is known."""

from edgecache.core.accounts import Account, Accounts, Given, Giving, Purge, PurgeLog
from edgecache.core.marks import Kind, Target
from edgecache.core.model import ObjectKey

A, B, C = (ObjectKey("volume", f"outputs/{name}") for name in "abc")


def test_what_is_not_known_is_no_account() -> None:
    assert Accounts().get(A) is None


def test_sums_of_what_was_bought_and_given() -> None:
    accounts = Accounts(since=5.0)
    accounts.bought(A, 100)
    accounts.bought(A, 20)
    assert accounts.get(A) == Account(bought=120)
    accounts.gave({A: Given(300, 4, 3), B: Given(1, 1, 0)}, 7.0)
    accounts.gave({A: Given(5, 1, 1)}, 9.0)
    assert accounts.get(A) == Account(bought=120, served=305, answers=5, hits=4, last_use=9.0)
    assert accounts.get(B) == Account(served=1, answers=1, last_use=7.0)
    assert accounts.since == 5.0


def test_the_least_recently_used_account_goes_first() -> None:
    accounts = Accounts(2)
    accounts.bought(A, 1)
    accounts.bought(B, 1)
    assert accounts.get(B)  # to look is no use
    accounts.gave({A: Given(1, 1, 1)}, 1.0)
    accounts.bought(C, 1)
    assert (accounts.get(B), len(accounts)) == (None, 2)
    assert accounts.get(A)


def test_a_process_tells_once_what_it_gave() -> None:
    giving = Giving()
    giving.add(A, 10)
    giving.add(A, 7, answers=2, hits=0)
    giving.add(B, 1, 0, 0)
    assert giving.take() == {A: Given(17, 3, 1), B: Given(1, 0, 0)}
    assert giving.take() == {}


def test_a_process_counts_so_many_objects_at_a_time() -> None:
    giving = Giving(1)
    giving.add(A, 1)
    giving.add(B, 1)
    giving.add(A, 1)
    assert giving.take() == {A: Given(2, 2, 2)}
    giving.add(B, 1)
    assert giving.take() == {B: Given(1, 1, 1)}


BY_KEY = Purge(Target(Kind.KEY, "outputs/a"), False, 1.0)
BY_PREFIX = Purge(Target(Kind.PREFIX, "outputs/"), True, 2.0)
BY_TAG = Purge(Target(Kind.TAG, "album-1"), False, 3.0)
ALL = Purge(Target(Kind.ALL), False, 4.0)


def test_the_last_purge_of_an_object() -> None:
    purges = PurgeLog()
    assert purges.last(A) is None
    for purge in (ALL, BY_KEY, BY_PREFIX, BY_TAG):
        purges.add(purge)
    assert purges.last(A) == BY_PREFIX
    assert purges.last(A, ["album-1"]) == BY_TAG
    assert purges.last(ObjectKey("volume", "other")) == ALL


def test_old_purges_are_forgotten() -> None:
    purges = PurgeLog(1)
    purges.add(BY_KEY)
    purges.add(BY_TAG)
    assert purges.last(A) is None
