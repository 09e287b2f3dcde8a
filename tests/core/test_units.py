"""Sizes and times as people write them."""

import pytest

from edgecache.core.units import parse_duration, parse_size


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
