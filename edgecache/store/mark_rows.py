"""The rows that a purge is about: those of marks, and the stored responses that a mark concerns.

Rule of this module: a step is short, however many rows there are. Keys are looked for in a range
of the index, never by a pattern; tags in a bounded number of rows at a time.
"""

from collections.abc import Callable, Iterator
from typing import Any

from edgecache.core.marks import Kind, Mark
from edgecache.core.model import ObjectKey
from edgecache.store import Step
from edgecache.store.mark_format import COUNTER, FIRST, LAST, decode_marks, encode_mark, mark_name
from edgecache.store.meta_format import decode_meta

# Stored responses that a step finds, and rows that it looks at.
MOST_FOUND = 64
MOST_LOOKED_AT = 2000
METAS = "meta:", "meta;"

SELECT_MARKS = "SELECT key, value FROM Cache WHERE key > ? AND key < ? AND raw = 1 ORDER BY key"
SELECT_COUNTER = "SELECT value FROM Cache WHERE key = ? AND raw = 1"
# `?` rows on from there.
SELECT_END = (
    "SELECT key FROM Cache WHERE key >= ? AND key < ? AND raw = 1 ORDER BY key LIMIT 1 OFFSET ?"
)
SELECT_STEP = (
    "SELECT key, value FROM Cache WHERE key >= ? AND key < ? AND raw = 1 "
    "AND (? = '' OR instr(value, ?)) ORDER BY key LIMIT ?"
)

Execute = Callable[[str, tuple[object, ...]], Any]


def load_marks(execute: Execute) -> tuple[int, tuple[Mark, ...]]:
    """The last number, and the marks in force.

    :raises ValueError: a row is damaged.
    """
    marks = decode_marks(execute(SELECT_MARKS, (FIRST, LAST)))
    counted = [int(value) for (value,) in execute(SELECT_COUNTER, (COUNTER,))]
    return max([0, *counted, *(mark.number for mark in marks)]), marks


def save_counter(cache: Any, last: int) -> None:
    cache.set(COUNTER, str(last), tag="")


def save_mark(cache: Any, mark: Mark) -> None:
    """In a transaction."""
    save_counter(cache, mark.number)
    cache.set(mark_name(mark.number), encode_mark(mark), tag="")


def step(execute: Execute, mark: Mark, after: str) -> Step:
    """The next stored responses that the mark concerns, from the name `after` on; "": the first."""
    for low, high in ranges(execute, mark):
        if after >= high:
            continue
        low = max(low, after)
        end = execute(SELECT_END, (low, high, MOST_LOOKED_AT)).fetchone()
        stop = end[0] if end else high
        literal = f'"{mark.target.text}"' if mark.target.kind is Kind.TAG else ""
        rows = execute(SELECT_STEP, (low, stop, literal, literal, MOST_FOUND)).fetchall()
        found = [decode_meta(value, key_of(name)) for name, value in rows]
        metas = [meta for meta in found if meta is not None and mark.concerns(meta)]
        # The first name there may be after that one.
        return Step(metas, rows[-1][0] + "\0" if len(rows) == MOST_FOUND else stop)
    return Step([], None)


def ranges(execute: Execute, mark: Mark) -> Iterator[tuple[str, str]]:
    """Where the names of stored responses that it may concern are: [low, high), one an origin."""
    text = mark.target.text
    for origin in [mark.target.origin] if mark.target.origin else origins(execute):
        low = f"meta:{origin}\n"
        match mark.target.kind:
            case Kind.KEY:
                yield low + text, low + text + "\0"
            case Kind.PREFIX:
                yield low + text, successor(low + text)
            case _:
                yield low, successor(low)


def origins(execute: Execute) -> Iterator[str]:
    """Those that have stored responses, in the config or not."""
    after, end = METAS
    while row := execute(SELECT_END, (after, end, 0)).fetchone():
        origin = key_of(row[0]).origin
        yield origin
        after = successor(f"meta:{origin}\n")


def key_of(name: str) -> ObjectKey:
    origin, _, key = name.removeprefix(METAS[0]).partition("\n")
    return ObjectKey(origin, key)


def successor(prefix: str) -> str:
    """The first text after all that begin so; SQLite's order is that of code points."""
    head = prefix.rstrip("\U0010ffff")
    last = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if last == 0xD800 else last)
