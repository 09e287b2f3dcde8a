"""The policies by the names that they have in the settings."""

from edgecache.core.lfuda import LfudaPolicy
from edgecache.core.lru import LruPolicy
from edgecache.core.policy import Policy

POLICIES: dict[str, type[LfudaPolicy] | type[LruPolicy]] = {
    "lfuda": LfudaPolicy,
    "lru": LruPolicy,
}


def make_policy(name: str, limit: int = 0) -> Policy:
    return POLICIES[name](limit)
