"""Validators and dates, RFC 9110 §8.8 and §5.6.7. Rule of this module: what cannot be told for sure
is no validator at all (None or ""), and nothing here ever raises on what the wire brought."""

import re
from datetime import UTC, datetime

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_ETAG = 256
MAX_DATE = 40  # the longest form, "Wednesday, 06-Nov-94 08:49:37 GMT", has 33

_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = rf"(?P<month>{'|'.join(MONTHS)})"
# RFC 9110 §5.6.7: the preferred form and the two that a recipient has to accept. The day's name is
# not compared with the date: it says nothing that the date doesn't. "UTC" is RunPod's GMT.
DATE_FORMS = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"[a-z]{{3}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} (?:GMT|UTC)",
        rf"[a-z]{{6,9}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} (?:GMT|UTC)",
        rf"[a-z]{{3}} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
# RFC 9110 §8.8.3 etagc without obs-text: bytes above 127 have no one spelling as text, so a tag
# that has some could not be compared reliably. A comma is legal.
OPAQUE = re.compile(r"[\x21\x23-\x7e]+")


def parse_http_date(value: str) -> int | None:
    """Seconds since the epoch; None when it is no HTTP-date."""
    text = value.strip(" \t")
    if len(text) > MAX_DATE:
        return None
    for form in DATE_FORMS:
        if found := form.fullmatch(text):
            return _seconds(found)
    return None


def _seconds(found: re.Match[str]) -> int | None:
    year, second = int(found["year"]), int(found["second"])
    if len(found["year"]) == 2:
        # RFC 9110 §5.6.7 asks for "not more than 50 years in the future", but there is no clock
        # here; POSIX's fixed pivot reads every date that a server of this protocol can mean.
        year += 1900 if year >= 69 else 2000
    try:
        return int(
            datetime(
                year,
                MONTHS.index(found["month"].title()) + 1,
                int(found["day"]),
                int(found["hour"]),
                int(found["minute"]),
                59 if second == 60 else second,  # a leap second is legal, datetime has none
                tzinfo=UTC,
            ).timestamp()
        )
    except ValueError:
        return None


def format_http_date(when: float) -> str:
    """IMF-fixdate, always GMT; `when` is in the years 1 to 9999. Not strftime: it has a locale."""
    date = datetime.fromtimestamp(when // 1, UTC)
    return (
        f"{DAYS[date.weekday()]}, {date.day:02} {MONTHS[date.month - 1]} {date.year:04} "
        f"{date.hour:02}:{date.minute:02}:{date.second:02} GMT"
    )


def strong_etag(value: str) -> str:
    """The origin's ETag as a strong, quoted entity-tag (RFC 9110 §8.8.3); "" when it can't be one.

    An empty tag is refused too: it comes from broken servers and is the same for every version.
    """
    tag = value.strip(" \t").removeprefix("W/")
    if len(tag) >= 2 and tag[0] == tag[-1] == '"':
        tag = tag[1:-1]
    if len(tag) > MAX_ETAG - 2 or not OPAQUE.fullmatch(tag):
        return ""
    return f'"{tag}"'
