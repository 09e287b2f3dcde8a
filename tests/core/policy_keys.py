"""Slice keys for tests of policies: a version is 32 hexadecimal digits, as real ones are."""

from hashlib import blake2b

from edgecache.core.model import SliceKey
from edgecache.core.policy import Loaded, name_of


def key_of(name: str, number: int) -> SliceKey:
    return SliceKey(blake2b(name.encode(), digest_size=16).hexdigest(), number)


def loaded(key: SliceKey, size: int, count: int, priority: float) -> Loaded:
    return name_of(key), size, count, priority
