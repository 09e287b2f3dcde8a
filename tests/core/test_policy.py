from edgecache.core.lfuda import LfudaPolicy
from edgecache.core.lru import LruPolicy
from edgecache.core.policy import Policy


def test_the_policies_are_policies() -> None:
    """As far as signatures go, which mypy checks here; the claims are in test_policies.py."""
    policies: list[Policy] = [LfudaPolicy(7), LruPolicy(7)]
    assert [policy.size for policy in policies] == [0, 0]
