"""Sizes and times as people write them. Rule of this module: one spelling in, a plain number out;
what is not text passes through, for the settings' own types to judge.
"""

import re

SIZE_UNITS = {"": 1, "B": 1}
SIZE_UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
DURATION_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_UNITS |= {"d": 86400.0, "y": 365 * 86400.0}
SHARE = r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%"
SIZE_RULE = "not a size: write it like 50GiB, 512MiB or 100000"
SIZE_OR_SHARE_RULE = "not a size: write it like 50GiB, 512MiB, 100000 or 80%"
DURATION_RULE = "not a time: write it like 90s, 10m, 1h, 7d or 500ms"


def parse_size(value: object) -> object:
    """`50GiB`, `512 MB` or a number of bytes -> bytes.

    :raises ValueError: text that is not a size.
    """
    if isinstance(value, bool):  # YAML's yes and no are integers to Python
        raise ValueError(SIZE_RULE)
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)", value.strip())
    if match is None or match[2].upper() not in SIZE_UNITS:
        raise ValueError(SIZE_RULE)
    return int(float(match[1]) * SIZE_UNITS[match[2].upper()])


class Share(float):
    """A part of a whole: `80%` is 0.8."""

    def of(self, whole: int) -> int:
        return int(whole * self)


def parse_size_or_share(value: object) -> object:
    """A size, or `80%` of something -> bytes, or a Share.

    :raises ValueError: it is neither.
    """
    if isinstance(value, Share):
        return value
    if isinstance(value, str) and (match := re.fullmatch(SHARE, value.strip())):
        if float(match[1]) > 100:
            raise ValueError("more than all of it: at most 100%")
        return Share(float(match[1]) / 100)
    try:
        parsed = parse_size(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, int):
        raise ValueError(SIZE_OR_SHARE_RULE)
    return parsed


def format_size(count: int) -> str:
    """In decimal units, as traffic is billed."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.{2 if unit > 10**3 else 0}f} {name}"
    return f"{count} B"


def parse_duration(value: object) -> object:
    """`1h`, `500ms`, `365d` or a number of seconds -> seconds.

    :raises ValueError: text that is not a time.
    """
    if isinstance(value, bool):
        raise ValueError(DURATION_RULE)
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([a-z]*)", value.strip())
    if match is None or match[2] not in DURATION_UNITS:
        raise ValueError(DURATION_RULE)
    return float(match[1]) * DURATION_UNITS[match[2]]
