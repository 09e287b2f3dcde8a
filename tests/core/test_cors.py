import pytest

from edgecache.core.cors import EXPOSED_HEADERS, preflight_fields, response_fields

APP = "https://app.example.com"
OTHER = "https://evil.example"
EXPOSE = ("Access-Control-Expose-Headers", EXPOSED_HEADERS)
VARY = ("Vary", "Origin")


def allow(origin: str) -> tuple[str, str]:
    return ("Access-Control-Allow-Origin", origin)


@pytest.mark.parametrize(
    ("origin", "allow_origins", "fields"),
    [
        (APP, ("*",), (allow("*"), EXPOSE)),
        (None, ("*",), (allow("*"), EXPOSE)),  # one answer for all: no Vary needed
        (APP, (APP, "*"), (allow("*"), EXPOSE)),
        (APP, (APP,), (allow(APP), EXPOSE, VARY)),
        (APP, (OTHER, APP), (allow(APP), EXPOSE, VARY)),
        (APP, ("https://App.Example.com/",), (allow(APP), EXPOSE, VARY)),
        (APP, [APP], (allow(APP), EXPOSE, VARY)),
        ("null", ("null",), (allow("null"), EXPOSE, VARY)),
        (OTHER, (APP,), (VARY,)),
        (None, (APP,), (VARY,)),
        ("", (APP,), (VARY,)),
        ("null", (APP,), (VARY,)),
        (APP + ".evil.example", (APP,), (VARY,)),
        (APP + ":8443", (APP,), (VARY,)),
        ("http://app.example.com", (APP,), (VARY,)),
        ("https://xapp.example.com", (APP,), (VARY,)),
        (APP + "\r\nSet-Cookie: a=b", (APP,), (VARY,)),
        (APP, (), ()),
        (None, (), ()),
    ],
)
def test_who_may_read_an_answer(
    origin: str | None, allow_origins: tuple[str, ...], fields: tuple[tuple[str, str], ...]
) -> None:
    assert response_fields(origin, allow_origins) == fields


def test_a_player_may_read_what_it_needs() -> None:
    assert EXPOSED_HEADERS.split(", ") == [
        *("Content-Range", "Content-Length", "Accept-Ranges", "ETag", "Cache-Status", "Age")
    ]


LISTS = (
    ("Access-Control-Allow-Methods", "GET, HEAD"),
    ("Access-Control-Allow-Headers", "Range, If-Range, If-None-Match, If-Modified-Since"),
    ("Access-Control-Max-Age", "86400"),
)


@pytest.mark.parametrize(
    ("origin", "allow_origins", "fields"),
    [
        (APP, ("*",), (allow("*"), *LISTS)),
        (APP, (APP,), (allow(APP), *LISTS, VARY)),
        (OTHER, (APP,), ()),
        (APP, (), ()),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "x\r\ny"])
def test_preflight_answers_with_fixed_lists(
    origin: str,
    allow_origins: tuple[str, ...],
    fields: tuple[tuple[str, str], ...],
    method: str,
) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "range, x-secret",
    }
    assert preflight_fields(headers, allow_origins, 86400.0) == fields


@pytest.mark.parametrize("headers", [{}, {"Origin": APP}, {"Access-Control-Request-Method": "GET"}])
def test_an_ordinary_options_is_no_preflight(headers: dict[str, str]) -> None:
    assert preflight_fields(headers, ("*",), 600) == ()


def test_max_age_is_whole_seconds() -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    assert ("Access-Control-Max-Age", "0") in preflight_fields(headers, ("*",), 0.5)
