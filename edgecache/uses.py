"""What workers tell the keeper of slices they gave: lines of version, number, count."""

import re
from collections.abc import Iterator, Mapping

from edgecache.core.model import SliceKey

LINE = re.compile(rb"([0-9a-f]{32}) ([0-9]{1,10}) ([0-9]{1,15})")


def write_uses(uses: Mapping[SliceKey, int]) -> bytes:
    lines = (f"{key.version} {key.number} {count}\n" for key, count in uses.items())
    return "".join(lines).encode()


def read_uses(data: bytes) -> Iterator[tuple[SliceKey, int]]:
    for line in data.splitlines():
        if found := LINE.fullmatch(line):
            yield SliceKey(found[1].decode(), int(found[2])), int(found[3])
