import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecache.core.accesslog import LIMITS, AccessEntry, format_combined, format_json

MAX_LINE = 4096
ENTRY = AccessEntry(
    time=1722945600.25,
    client="203.0.113.7",
    method="GET",
    path="/outputs/a%20b.mp4?sig=s3cret&w=640",
    status=206,
    bytes=1048576,
    range="bytes=0-1048575",
    duration=0.0123456789,
    time_to_first_byte=0.001,
    cache_status='edgecache; fwd=partial; detail="3/5 slices"',
    result="partial",
    referer="https://app.example.com/gallery?token=s3cret#top",
    user_agent="Mozilla/5.0 (X11; Linux)",
    request_id="0123456789abcdef",
)
TEXTS = tuple(LIMITS)


def entry_with(**fields: Any) -> AccessEntry:
    return ENTRY._replace(**fields)


def test_json_has_stable_names_in_a_stable_order() -> None:
    assert format_json(ENTRY) == (
        '{"time":"2024-08-06T12:00:00.250Z","client":"203.0.113.7","method":"GET",'
        '"path":"/outputs/a%20b.mp4","status":206,"bytes":1048576,"range":"bytes=0-1048575",'
        '"duration":0.012346,"ttfb":0.001000,'
        '"cache_status":"edgecache; fwd=partial; detail=\\"3/5 slices\\"","result":"partial",'
        '"referer":"https://app.example.com/gallery","user_agent":"Mozilla/5.0 (X11; Linux)",'
        '"request_id":"0123456789abcdef"}'
    )


def test_combined_is_ncsa_and_the_cache_status() -> None:
    assert format_combined(ENTRY) == (
        '203.0.113.7 - - [06/Aug/2024:12:00:00 +0000] "GET /outputs/a%20b.mp4 HTTP/1.1" 206 '
        '1048576 "https://app.example.com/gallery" "Mozilla/5.0 (X11; Linux)" '
        '"edgecache; fwd=partial; detail=\\"3/5 slices\\""'
    )


def test_combined_writes_a_dash_for_what_is_not_there() -> None:
    entry = entry_with(**dict.fromkeys(TEXTS, ""), status=400, bytes=0)
    assert format_combined(entry) == (
        '- - - [06/Aug/2024:12:00:00 +0000] "- - HTTP/1.1" 400 - "-" "-" "-"'
    )


@pytest.mark.parametrize(
    ("when", "iso", "clf"),
    [
        (0.0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        (1709210096.9996, "2024-02-29T12:34:56.999Z", "29/Feb/2024:12:34:56 +0000"),
        (1735689599.0, "2024-12-31T23:59:59.000Z", "31/Dec/2024:23:59:59 +0000"),
    ],
)
def test_time_is_utc(when: float, iso: str, clf: str) -> None:
    entry = entry_with(time=when)
    assert json.loads(format_json(entry))["time"] == iso
    assert f" [{clf}] " in format_combined(entry)


@pytest.mark.parametrize(
    ("text", "json_text", "escaped"),
    [
        ("a\x1b[31mb", "a\x1b[31mb", r"a\u001b[31mb"),
        ("a\r\nb", "a\r\nb", r"a\r\nb"),
        ("a\x00b", "a\x00b", r"a\u0000b"),
        ("a\x7fb", "a\x7fb", r"a\u007fb"),
        ("a\x85b", "a\x85b", r"a\u0085b"),
        ("a\u2028b", "a\u2028b", r"a\u2028b"),
        ("a\u202eb", "a\u202eb", r"a\u202eb"),
        ('a" 200 "b', 'a" 200 "b', r"a\" 200 \"b"),
        ("a\\b", "a\\b", r"a\\b"),
        ("🎬", "🎬", r"\ud83c\udfac"),
        ("a\udcffb", "a\\udcffb", r"a\\udcffb"),  # a byte that was not UTF-8
        ("a\ud800b", "a\\ud800b", r"a\\ud800b"),
    ],
)
def test_odd_characters_are_escaped(text: str, json_text: str, escaped: str) -> None:
    """W10."""
    entry = entry_with(user_agent=text)
    assert json.loads(format_json(entry))["user_agent"] == json_text
    assert f'"user_agent":"{escaped}"' in format_json(entry)
    assert f' "{escaped}" ' in format_combined(entry)


def test_a_space_in_the_client_starts_no_new_column() -> None:
    assert format_combined(entry_with(client="a b")).startswith(r"a\u0020b - - [")


@pytest.mark.parametrize("format_entry", [format_json, format_combined])
def test_no_query_gets_into_the_log(format_entry: Callable[[AccessEntry], str]) -> None:
    """W09."""
    assert "s3cret" not in format_entry(ENTRY)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("character", ["a", '"', "\x1b", "\x7f", "é", "\udcff", "🎬"])
def test_a_long_field_is_cut_to_its_limit_escaped(name: str, character: str) -> None:
    """W10: a 10 kB User-Agent."""
    record = json.loads(format_json(entry_with(**{name: character * 10_000})))
    escaped = json.dumps(record[name])[1:-1].replace("\x7f", "\\u007f")
    assert LIMITS[name] - 12 < len(escaped) <= LIMITS[name]


def test_a_line_of_ordinary_fields_is_not_cut() -> None:
    entry = entry_with(user_agent="a" * LIMITS["user_agent"], path="/" + "é" * 100)
    record = json.loads(format_json(entry))
    assert (record["user_agent"], record["path"]) == (entry.user_agent, entry.path)


any_text = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Zl", "So"]), max_size=3000)


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, any_text)))
def test_any_entry_is_one_bounded_line_of_ascii(texts: dict[str, str]) -> None:
    entry = entry_with(**texts)
    for line in (format_json(entry), format_combined(entry)):
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < MAX_LINE
    record = json.loads(format_json(entry))
    assert record.keys() == json.loads(format_json(ENTRY)).keys()
    json.dumps(record, ensure_ascii=False).encode()  # strict readers refuse lone surrogates


def test_the_longest_line_is_bounded() -> None:
    entry = entry_with(**dict.fromkeys(TEXTS, " " * 5000))
    assert 3000 < len(format_json(entry)) < MAX_LINE
    assert 3000 < len(format_combined(entry)) < MAX_LINE
