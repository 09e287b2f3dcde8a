import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.conditions import MAX_LIST, Outcome, entity_tags, evaluate, range_applies
from edgecache.core.validators import format_http_date

ETAG = '"abc"'
MODIFIED = 1_700_000_000
BEFORE, SAME, AFTER = (format_http_date(MODIFIED + delta) for delta in (-1, 0, 1))

PROCEED, NOT_MODIFIED, FAILED = Outcome


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, PROCEED),
        # RFC 9110 §13.1.1 If-Match: strong comparison
        ({"If-Match": '"abc"'}, PROCEED),
        ({"If-Match": "*"}, PROCEED),
        ({"If-Match": '"x", "abc"'}, PROCEED),
        ({"If-Match": '"x"'}, FAILED),
        ({"If-Match": 'W/"abc"'}, FAILED),
        ({"If-Match": "abc"}, FAILED),
        ({"If-Match": ""}, FAILED),
        # §13.1.4 If-Unmodified-Since
        ({"If-Unmodified-Since": SAME}, PROCEED),
        ({"If-Unmodified-Since": AFTER}, PROCEED),
        ({"If-Unmodified-Since": BEFORE}, FAILED),
        ({"If-Unmodified-Since": "yesterday"}, PROCEED),
        ({"If-Unmodified-Since": f"{BEFORE}, {BEFORE}"}, PROCEED),
        # §13.1.2 If-None-Match: weak comparison
        ({"If-None-Match": '"abc"'}, NOT_MODIFIED),  # conditional-etag-strong-respond
        ({"If-None-Match": 'W/"abc"'}, NOT_MODIFIED),  # conditional-etag-weak-respond
        ({"If-None-Match": "*"}, NOT_MODIFIED),
        ({"If-None-Match": " * "}, NOT_MODIFIED),
        # conditional-etag-strong-respond-multiple-{first,second,last}
        ({"If-None-Match": '"abc", "1234", "5678"'}, NOT_MODIFIED),
        ({"If-None-Match": '"1234", "abc", "5678"'}, NOT_MODIFIED),
        ({"If-None-Match": '"1234", "5678", "abc"'}, NOT_MODIFIED),
        ({"If-None-Match": '"x"'}, PROCEED),
        ({"If-None-Match": '"ABC"'}, PROCEED),
        ({"If-None-Match": '"*"'}, PROCEED),
        ({"If-None-Match": '"x", *'}, PROCEED),
        ({"If-None-Match": ""}, PROCEED),
        ({"If-None-Match": "abc"}, PROCEED),  # conditional-etag-quoted-respond-unquoted
        ({"If-None-Match": 'w/"abc"'}, PROCEED),  # conditional-etag-weak-respond-lowercase
        ({"If-None-Match": 'W\\"abc"'}, PROCEED),  # conditional-etag-weak-respond-backslash
        ({"If-None-Match": 'W"abc"'}, PROCEED),  # conditional-etag-weak-respond-omit-slash
        # §13.1.3 If-Modified-Since
        ({"If-Modified-Since": SAME}, NOT_MODIFIED),  # conditional-lm-fresh
        ({"If-Modified-Since": AFTER}, NOT_MODIFIED),  # conditional-lm-fresh-earlier
        ({"If-Modified-Since": BEFORE}, PROCEED),
        ({"If-Modified-Since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, NOT_MODIFIED),  # ...-rfc850
        ({"If-Modified-Since": "0"}, PROCEED),
        ({"If-Modified-Since": f"{AFTER}, {AFTER}"}, PROCEED),
        # §13.2.2: the order. Step 2 only without step 1, step 4 only without step 3, a tag of no
        # use is still one that is there
        ({"If-Match": '"abc"', "If-Unmodified-Since": BEFORE}, PROCEED),
        ({"If-Match": '"x"', "If-Unmodified-Since": AFTER}, FAILED),
        ({"If-None-Match": '"abc"', "If-Modified-Since": BEFORE}, NOT_MODIFIED),  # -precedence
        ({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, PROCEED),
        ({"If-None-Match": "garbage", "If-Modified-Since": AFTER}, PROCEED),
        ({"If-Match": '"x"', "If-None-Match": '"abc"'}, FAILED),
        ({"If-Match": '"abc"', "If-None-Match": '"abc"'}, NOT_MODIFIED),
        ({"If-Unmodified-Since": BEFORE, "If-None-Match": '"abc"'}, FAILED),
        ({"If-Unmodified-Since": AFTER, "If-Modified-Since": AFTER}, NOT_MODIFIED),
    ],
)
def test_preconditions(headers: dict[str, str], outcome: Outcome) -> None:
    assert evaluate(headers, etag=ETAG, last_modified=MODIFIED) is outcome


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since"])
@pytest.mark.parametrize("date", [BEFORE, AFTER])
def test_without_last_modified_dates_are_ignored(name: str, date: str) -> None:
    assert evaluate({name: date}, etag=ETAG, last_modified=None) is PROCEED


@pytest.mark.parametrize("value", ["", " ", '""', 'W/""', '"abc"', "abc"])
def test_without_an_etag_only_the_asterisk_names_the_object(value: str) -> None:
    assert evaluate({"If-None-Match": value}, etag="", last_modified=None) is PROCEED
    assert evaluate({"If-Match": value}, etag="", last_modified=None) is FAILED
    assert evaluate({"If-None-Match": "*"}, etag="", last_modified=None) is NOT_MODIFIED
    assert evaluate({"If-Match": "*"}, etag="", last_modified=None) is PROCEED
    assert not range_applies(value, etag="", last_modified=None, date=None)


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        # RFC 9110 §8.8.3, §5.6.1: empty members are legal for a recipient
        ('"a"', [(False, '"a"')]),
        ('"a",W/"b"', [(False, '"a"'), (True, '"b"')]),
        (' , "a"\t,, "b" ,', [(False, '"a"'), (False, '"b"')]),
        ('"a,b", "c"', [(False, '"a,b"'), (False, '"c"')]),
        ('"a,", "b"', [(False, '"a,"'), (False, '"b"')]),
        ('""', [(False, '""')]),
        ('"ü"', [(False, '"ü"')]),
        # garbage costs its own member only
        ('junk, "a"', [(False, '"a"')]),
        ('"a"junk, "b"', [(False, '"b"')]),
        ('x"a"', []),
        ('"a" "b"', []),
        ('W / "a", "b"', [(False, '"b"')]),
        ('"a b", "c"', [(False, '"c"')]),
        ('"a', []),
        ('"a, "b"', [(False, '"b"')]),
        ('"', []),
        (",,,", []),
        ("", []),
    ],
)
def test_entity_tag_lists(value: str, tags: list[tuple[bool, str]]) -> None:
    assert list(entity_tags(value)) == tags


@pytest.mark.parametrize("piece", [",", '"', '"a', '"a,', "a,", 'W/"', ' "', "\t", '"a",', "W/,"])
def test_a_hostile_list_is_looked_at_up_to_a_bound(piece: str) -> None:
    value = piece * (1_000_000 // len(piece)) + ', "abc"'
    assert evaluate({"If-None-Match": value}, etag=ETAG, last_modified=None) is PROCEED


def test_a_tag_within_the_bound_counts_and_one_across_it_does_not() -> None:
    inside = "," * (MAX_LIST - len(ETAG)) + ETAG
    assert evaluate({"If-None-Match": inside}, etag=ETAG, last_modified=None) is NOT_MODIFIED
    assert evaluate({"If-None-Match": "," + inside}, etag=ETAG, last_modified=None) is PROCEED


@given(st.text(alphabet='"W/abc,* \t\x00ü\\'))
def test_only_a_list_that_holds_the_tag_matches(value: str) -> None:
    outcome = evaluate({"If-None-Match": value}, etag=ETAG, last_modified=None)
    if outcome is NOT_MODIFIED:
        assert ETAG in value or value.strip() == "*"


@given(st.lists(st.text(alphabet="abc,W/*\\", max_size=4), max_size=5), st.booleans())
def test_a_list_matches_exactly_when_a_member_does(tags: list[str], weak: bool) -> None:
    value = ", ".join(f'{"W/" if weak else ""}"{tag}"' for tag in tags)
    found = evaluate({"If-None-Match": value}, etag=ETAG, last_modified=None) is NOT_MODIFIED
    assert found == ("abc" in tags)
    failed = evaluate({"If-Match": value}, etag=ETAG, last_modified=None) is FAILED
    assert failed == (weak or "abc" not in tags)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        # RFC 9110 §13.1.5: strong comparison (§8.8.3.2), one tag and not a list
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"x"', False),
        ('"abc", "x"', False),
        ("*", False),
        ("abc", False),
        ("", False),
        ('"abc', False),
        # an exact match: neither earlier nor later
        (SAME, True),
        (BEFORE, False),
        (AFTER, False),
        ("Tuesday, 14-Nov-23 22:13:20 GMT", True),
        (f"{SAME}, {SAME}", False),
        ("0", False),
    ],
)
def test_if_range(if_range: str | None, applies: bool) -> None:
    date = MODIFIED + 3600
    assert range_applies(if_range, etag=ETAG, last_modified=MODIFIED, date=date) is applies


@pytest.mark.parametrize(
    ("last_modified", "date", "applies"),
    [
        # RFC 9110 §8.8.2.2: when Last-Modified is strong
        (MODIFIED, MODIFIED + 60, True),
        (MODIFIED, MODIFIED + 59, False),
        (MODIFIED, MODIFIED, False),
        (MODIFIED, MODIFIED - 3600, False),
        (MODIFIED, None, False),
        (None, MODIFIED + 3600, False),
        (None, None, False),
    ],
)
def test_if_range_needs_a_strong_date(
    last_modified: int | None, date: int | None, applies: bool
) -> None:
    assert range_applies(SAME, etag=ETAG, last_modified=last_modified, date=date) is applies
    # and a tag doesn't
    assert range_applies(ETAG, etag=ETAG, last_modified=last_modified, date=date)
