"""The line that the access log gets for each request.

Rule of this module: whatever a client sent, it is one line of printable ASCII, bounded in length,
and without a query, where signatures live. Names and order of the JSON fields are stable.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

PLAIN = re.compile(r"[ !#-\[\]-~]*")  # stands in a JSON string as it is
COMPACT = json.JSONEncoder(separators=(",", ":"))  # json.dumps would build one for every line
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# How long a field may get, escaped: all of them together stay under 4 KiB, the size up to which
# the writes of several processes to one pipe do not mix.
LIMITS = {
    "client": 64,
    "method": 32,
    "path": 1536,
    "range": 128,
    "cache_status": 256,
    "result": 32,
    "referer": 512,
    "user_agent": 512,
    "request_id": 64,
}


class AccessEntry(NamedTuple):
    """One answered request, as it came: `path` is the raw target, and a field that the request
    did not have is "". Times are in seconds, `time` since the epoch. A tuple: made for each hit."""

    time: float
    client: str
    method: str
    path: str
    status: int
    bytes: int
    range: str
    duration: float
    time_to_first_byte: float
    cache_status: str
    result: str
    referer: str
    user_agent: str
    request_id: str


class Frame(NamedTuple):
    """A line but for its times: the same for requests that are alike and were answered alike."""

    start: str  # up to the time of day
    end: str


def json_frame(entry: AccessEntry) -> Frame:
    # Written out: json.dumps of the same takes three times as long.
    return Frame(
        f'"client":"{_client(entry.client)}",'
        f'"method":"{_method(entry.method)}","path":"{_path(entry.path)}",'
        f'"status":{entry.status},"bytes":{entry.bytes},"range":"{_range(entry.range)}"',
        f'"cache_status":"{_cache_status(entry.cache_status)}",'
        f'"result":"{_result(entry.result)}","referer":"{_referer(entry.referer)}",'
        f'"user_agent":"{_user_agent(entry.user_agent)}",'
        f'"request_id":"{_request_id(entry.request_id)}"}}',
    )


def json_line(frame: Frame, when: float, duration: float, first: float) -> str:
    """`when` is `AccessEntry.time`, `first` its `time_to_first_byte`."""
    time = _iso_8601(int(when * 1000))
    seconds = f"{duration:.6f}"
    ttfb = seconds if first == duration else f"{first:.6f}"
    return f'{{"time":"{time}",{frame.start},"duration":{seconds},"ttfb":{ttfb},{frame.end}'


def combined_frame(entry: AccessEntry) -> Frame:
    """NCSA combined format, then the Cache-Status in quotes. Escapes are JSON's, `"` is `\\"`."""
    texts = {name: safe(getattr(entry, name)) or "-" for name, safe in SAFE.items()}
    client = texts["client"].replace(" ", "\\u0020")
    # The version decides nothing and is not in the entry, but readers of the format want one.
    request = f"{texts['method']} {texts['path']} HTTP/1.1"
    return Frame(
        f"{client} - - [",
        f'] "{request}" {entry.status} {entry.bytes or "-"} '
        f'"{texts["referer"]}" "{texts["user_agent"]}" "{texts["cache_status"]}"',
    )


def combined_line(frame: Frame, when: float, _duration: float, _first: float) -> str:
    return f"{frame.start}{_clf_time(int(when))}{frame.end}"


class Format(NamedTuple):
    """How a line is made. In two steps: hits are many, and many of them alike."""

    frame: Callable[[AccessEntry], Frame]
    line: Callable[[Frame, float, float, float], str]

    def __call__(self, entry: AccessEntry) -> str:
        frame = self.frame(entry)
        return self.line(frame, entry.time, entry.duration, entry.time_to_first_byte)


format_json = Format(json_frame, json_line)
format_combined = Format(combined_frame, combined_line)


def _without_query(target: str) -> str:
    return target.partition("?")[0].partition("#")[0]


def _cut(text: str, limit: int) -> str:
    """The longest start of `text` that takes at most `limit` characters once it is escaped."""
    text = text[:limit]
    if PLAIN.fullmatch(text):
        return text
    # A lone surrogate (a byte that was not UTF-8) would make JSON that strict readers refuse.
    text = text.encode("utf-8", "backslashreplace").decode()
    room = limit
    for position, character in enumerate(text):
        room -= _width(character)
        if room < 0:
            return text[:position]
    return text


def _width(character: str) -> int:
    """How many characters it takes, escaped; for the short escapes (\\n) a little too many."""
    if PLAIN.fullmatch(character):
        return 1
    if character in '"\\':
        return 2
    return 6 if character <= "\uffff" else 12  # \uXXXX, or two of them


def _escape(value: str) -> str:
    """Compact JSON in ASCII; DEL is the one control character that json leaves as it is."""
    return COMPACT.encode(value).replace("\x7f", "\\u007f")


@lru_cache(maxsize=16)
def _iso_8601(when: int) -> str:
    """Of milliseconds: many requests have the same."""
    second, thousandth = divmod(when, 1000)
    return f"{_second(second)}.{thousandth:03}Z"


@lru_cache(maxsize=4)
def _second(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4)
def _clf_time(when: int) -> str:
    """10/Oct/2000:13:55:36 +0000. Not strftime's %b, which speaks the operator's language."""
    moment = datetime.fromtimestamp(when, UTC)
    return f"{moment.day:02}/{MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"


def _safe(name: str) -> Callable[[str], str]:
    """What makes a text safe that others had a say in: cut and escaped as JSON does.

    Remembered, because the same clients ask for the same objects.
    """
    limit = LIMITS[name]
    # A referring page's query may hold a signature as well.
    has_query = name in ("path", "referer")

    @lru_cache(maxsize=1024)
    def safe(text: str) -> str:
        shown = _without_query(text) if has_query else text
        return _escape(_cut(shown, limit))[1:-1]

    return safe


SAFE = {name: _safe(name) for name in LIMITS}
_client, _method, _path, _range, _cache_status, _result, _referer, _user_agent, _request_id = (
    SAFE.values()
)
