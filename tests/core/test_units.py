"""Sizes and times as people write them."""

import pytest

from edgecache.core.units import (
    Share,
    format_size,
    parse_duration,
    parse_size,
    parse_size_or_share,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("100000", 100_000),
        ("1B", 1),
        ("4KB", 4_000),
        ("4KiB", 4_096),
        ("512 MB", 512_000_000),
        ("1.5GiB", 1_610_612_736),
        ("50gib", 53_687_091_200),
        (" 2TiB ", 2_199_023_255_552),
    ],
)
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("500ms", 0.5),
        ("90s", 90.0),
        ("10 m", 600.0),
        ("1.5h", 5400.0),
        ("7d", 604_800.0),
        ("1y", 31_536_000.0),
    ],
)
def test_a_time_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "GiB", "50 GiB!", "-1", "1e9", "50Gi", "0x10", "1_000", "١", "1GiB 2", True, False]
)
def test_what_is_not_a_size_is_told_how_to_write_one(text: object) -> None:
    with pytest.raises(ValueError, match="write it like 50GiB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "h", "1h30m", "-5s", "1H", "1 week", "1e3", "٣s", True])
def test_what_is_not_a_time_is_told_how_to_write_one(text: object) -> None:
    with pytest.raises(ValueError, match="write it like 90s"):
        parse_duration(text)


@pytest.mark.parametrize("value", [7, 7.5, None, [1]])
def test_what_is_not_text_passes_through(value: object) -> None:
    assert parse_size(value) == value
    assert parse_duration(value) == value


@pytest.mark.parametrize(("text", "share"), [("80%", 0.8), ("0.5 %", 0.005), ("100%", 1.0)])
def test_a_share_is_one_of_something(text: str, share: float) -> None:
    parsed = parse_size_or_share(text)
    assert isinstance(parsed, Share)
    assert parsed == pytest.approx(share)
    assert parsed.of(1000) == int(1000 * share)
    assert parse_size_or_share(parsed) is parsed


def test_where_a_share_may_be_a_size_may_too() -> None:
    assert parse_size_or_share("4KiB") == 4096
    assert parse_size_or_share(4096) == 4096


@pytest.mark.parametrize("value", ["", "%", "-1%", "1e1%", "8 0%", True, None, 0.5, []])
def test_what_is_neither_is_told_how_to_write_both(value: object) -> None:
    with pytest.raises(ValueError, match="write it like 50GiB"):
        parse_size_or_share(value)


def test_there_is_no_more_than_all() -> None:
    with pytest.raises(ValueError, match="at most 100%"):
        parse_size_or_share("101%")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (737_630, "738 kB"), (1_344_000, "1.34 MB")],
)
def test_a_size_for_people(count: int, text: str) -> None:
    assert format_size(count) == text
