"""A purge mark as a row's key and text. Rule: pure; what is not exactly a mark is a ValueError,
for what it was about must not be served, and nobody can tell what that was.
"""

import json
from collections.abc import Iterable

from xxhash import xxh3_64_hexdigest

from edgecache.core.marks import Kind, Mark, Target

# The rows of marks are those between; the one of the last number there was is not.
FIRST, LAST = "purge:", "purge;"
COUNTER = "purge-last"


def mark_name(number: int) -> str:
    return f"{FIRST}{number:016d}"


def encode_mark(mark: Mark) -> str:
    kind, text, origin = mark.target.kind, mark.target.text, mark.target.origin
    body = json.dumps([mark.number, kind, text, origin, mark.soft])
    return f"{xxh3_64_hexdigest(body.encode())} {body}"


def decode_mark(name: object, text: object) -> Mark:
    """:raises ValueError: it is none."""
    checksum, _, body = str(text).partition(" ")
    if checksum != xxh3_64_hexdigest(body.encode("utf-8", "replace")):
        raise ValueError("not a purge mark")
    number, kind, what, origin, soft = json.loads(body)
    if name != mark_name(number):
        raise ValueError("not that purge mark")
    return Mark(number, Target(Kind(kind), what, origin), soft)


def decode_marks(rows: Iterable[tuple[object, object]]) -> tuple[Mark, ...]:
    return tuple(decode_mark(name, text) for name, text in rows)
