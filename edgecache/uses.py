"""What workers tell the keeper of what they gave. Rule: a line each; what is no such line is passed
over. Of slices: version, number, count. Of objects: served, answers, hits, origin, key.
"""

import re
from collections.abc import Iterator, Mapping

from edgecache.core.accounts import Given
from edgecache.core.model import ObjectKey, SliceKey

LINE = re.compile(rb"([0-9a-f]{32}) ([0-9]{1,10}) ([0-9]{1,15})")
GIVEN = re.compile(r"([0-9]{1,18}) ([0-9]{1,15}) ([0-9]{1,15}) ([a-z0-9_-]+) ([^\x00-\x1f]+)")


def write_uses(uses: Mapping[SliceKey, int]) -> bytes:
    lines = (f"{key.version} {key.number} {count}\n" for key, count in uses.items())
    return "".join(lines).encode()


def read_uses(data: bytes) -> Iterator[tuple[SliceKey, int]]:
    for line in data.splitlines():
        if found := LINE.fullmatch(line):
            yield SliceKey(found[1].decode(), int(found[2])), int(found[3])


def write_given(given: Mapping[ObjectKey, Given]) -> bytes:
    lines = (
        f"{counts.served} {counts.answers} {counts.hits} {key.origin} {key.key}\n"
        for key, counts in given.items()
    )
    return "".join(lines).encode()


def read_given(data: bytes) -> dict[ObjectKey, Given]:
    given = {}
    for line in data.decode(errors="replace").split("\n"):
        if found := GIVEN.fullmatch(line):
            served, answers, hits = map(int, found.group(1, 2, 3))
            given[ObjectKey(found[4], found[5])] = Given(served, answers, hits)
    return given
