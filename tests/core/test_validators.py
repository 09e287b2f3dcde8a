from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.validators import format_http_date, parse_http_date, strong_etag

NOV_6_1994 = 784111777
FIRST_SECOND, LAST_SECOND = -62135596800, 253402300799  # of the years 1 and 9999


@pytest.mark.parametrize(
    ("value", "when"),
    [
        # RFC 9110 §5.6.7: the three forms of one instant
        ("Sun, 06 Nov 1994 08:49:37 GMT", NOV_6_1994),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOV_6_1994),
        ("Sun Nov  6 08:49:37 1994", NOV_6_1994),
        ("Wed Nov 16 08:49:37 1994", NOV_6_1994 + 10 * 86400),
        # RunPod writes UTC; cache-tests: freshness-expires-invalid-utc
        ("Sun, 06 Nov 1994 08:49:37 UTC", NOV_6_1994),
        # cache-tests: freshness-expires-wrong-case-{weekday,month,tz}
        ("SUN, 06 Nov 1994 08:49:37 GMT", NOV_6_1994),
        ("Sun, 06 NOV 1994 08:49:37 GMT", NOV_6_1994),
        ("Sun, 06 Nov 1994 08:49:37 gMT", NOV_6_1994),
        (" Sun, 06 Nov 1994 08:49:37 GMT\t", NOV_6_1994),  # RFC 9110 §5.5: OWS is not the value's
        ("Mon, 06 Nov 1994 08:49:37 GMT", NOV_6_1994),  # the wrong day of the week says nothing
        # a leap second is legal, and a leap day where there is one
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228799),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1709164800),
        # two digits of a year: a fixed pivot
        ("Wednesday, 31-Dec-69 23:59:59 GMT", -1),
        ("Thursday, 01-Jan-70 00:00:00 GMT", 0),
        ("Monday, 31-Dec-68 23:59:59 GMT", 3124223999),
        ("Mon, 01 Jan 0001 00:00:00 GMT", FIRST_SECOND),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LAST_SECOND),
    ],
)
def test_dates(value: str, when: int) -> None:
    assert parse_http_date(value) == when


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",  # RFC 9111 §5.3
        "-1",
        "784111777",
        "tomorrow",
        "Thu, 18 Aug 50 02:01:18 GMT",  # freshness-expires-invalid-2-digit-year
        "Thu 18 Aug 2050 02:01:18 GMT",  # freshness-expires-invalid-no-comma
        "Thu, 18  Aug  2050 02:01:18 GMT",  # freshness-expires-invalid-multiple-spaces
        "Thu, 18-Aug-2050 02:01:18 GMT",  # freshness-expires-invalid-date-dashes
        "Thu, 18 Aug 2050 02.01.18 GMT",  # freshness-expires-invalid-time-periods
        "Thu, 18 Aug 2050 2:01:18 GMT",  # freshness-expires-invalid-1-digit-hour
        "Thu, 18 Aug 2050 02:01:18",
        "Thu, 18 Aug 2050 02:01:18 AEST",
        "Thu, 18 Aug 2050 02:01:18 +0000",
        "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",  # two fields joined
        "Thu, 18 Aug 2050 02:01:18 GMT\n",
        "Thu, 18 Aug 2050 24:00:00 GMT",
        "Thu, 18 Aug 2050 23:60:00 GMT",
        "Thu, 18 Aug 2050 23:59:61 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "Thu, 00 Aug 2050 00:00:00 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "Thu, 18 Foo 2050 00:00:00 GMT",
        "Thu, 18 Aug 2050 02:01:1٨ GMT",  # a digit, but not ASCII's
        "ſun, 06 Nov 1994 08:49:37 GMT",  # folds to "s" without re.ASCII
        "Sun Nov 6 08:49:37 1994",  # asctime pads the day
        "2050-08-18T02:01:18Z",
        "Thu, 18 Aug 2050 02:01:18 GMT" + " " * 100_000 + "x",
    ],
)
def test_what_is_no_date(value: str) -> None:
    assert parse_http_date(value) is None


@given(st.text())
def test_dates_never_raise(value: str) -> None:
    parse_http_date(value)


@given(st.integers(FIRST_SECOND, LAST_SECOND))
def test_dates_are_written_as_the_standard_library_does_and_read_back(when: int) -> None:
    assert format_http_date(when) == formatdate(when, usegmt=True)
    assert parse_http_date(format_http_date(when)) == when


def test_a_written_date_is_never_in_the_future_of_what_it_says() -> None:
    assert format_http_date(NOV_6_1994 + 0.999) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert format_http_date(-0.5) == "Wed, 31 Dec 1969 23:59:59 GMT"


@pytest.mark.parametrize(
    ("value", "etag"),
    [
        # RFC 9110 §8.8.3
        ('"xyzzy"', '"xyzzy"'),
        ('W/"xyzzy"', '"xyzzy"'),  # weakened on its way, e.g. by a CDN that may compress
        (' "xyzzy"\t', '"xyzzy"'),
        ('"a,b"', '"a,b"'),
        (r'"a\b"', r'"a\b"'),
        ('"5d41402abc4b2a76b9719d911017c592-38"', '"5d41402abc4b2a76b9719d911017c592-38"'),
        ("abcdef", '"abcdef"'),  # cache-tests: conditional-etag-strong-generate-unquoted
        ("W/abcdef", '"abcdef"'),
        ('"' + "x" * 254 + '"', '"' + "x" * 254 + '"'),
    ],
)
def test_etags(value: str, etag: str) -> None:
    assert strong_etag(value) == etag


@pytest.mark.parametrize(
    "value",
    [
        "",
        '""',  # legal, but the same for every version
        'W/""',
        "W/",
        '"',
        '"a"b"',
        '"a", "b"',  # two fields joined
        '"a b"',
        '"a\r\nb"',
        '"a\x00b"',
        '"a\x7f"',
        "ab\n",
        '"ü"',
        '"\udcfc"',
        '"abc',
        'abc"',
        'w/"abc"',  # RFC 9110 §8.8.3: case-sensitive
        'W"abc"',  # cache-tests: conditional-etag-weak-respond-omit-slash
        '"' + "x" * 255 + '"',
        "x" * 1_000_000,
    ],
)
def test_what_is_no_etag(value: str) -> None:
    assert strong_etag(value) == ""


@given(st.text())
def test_a_strong_etag_stays_itself(value: str) -> None:
    etag = strong_etag(value)
    assert strong_etag(etag) == etag
