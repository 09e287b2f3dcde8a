"""The table and the words around it."""

import io
import json

import pytest
from rich.console import Console

from edgecache.demo import report
from edgecache.demo.stats import Outcome, Stats, StepResult

OUTCOME = Outcome(
    results=(
        StepResult(
            title="Gallery, 3 visitors",
            requests=36,
            client_bytes=1_410_000,
            origin_bytes=470_000,
            cold=(0.010, 0.020, 0.060),
            warm=(0.0004,),
        ),
        StepResult(
            title="New clip, 20 at once",
            requests=20,
            client_bytes=99_990_000,
            origin_bytes=9_999_000,
            cold=(1.2345,),
            warm=(),
        ),
        StepResult(
            title="Unchanged? (304)",
            requests=11,
            client_bytes=0,
            origin_bytes=0,
            cold=(),
            warm=(0.0002,),
        ),
    ),
    totals=Stats(
        requests=67,
        client_bytes=2_000_000,
        origin_bytes=500_000,
        saved_bytes=1_500_000,
        dollars_avoided=0.00042,
        hit_ratio=0.75,
    ),
)
URLS = report.urls("http://127.0.0.1:8080", "http://127.0.0.1:9180")


def shown(width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(report.table(OUTCOME))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_table_fits_into_80_columns_without_a_cut() -> None:
    assert "…" not in "".join(shown())


def test_rows() -> None:
    lines = [" ".join(line.split()) for line in shown()]
    assert "Gallery, 3 visitors 36 1.41 MB 470 kB 67% 20.0 ms 0.4 ms" in lines
    assert "Unchanged? (304) 11 0 B 0 B - - 0.2 ms" in lines


def test_the_totals_are_the_servers_own_not_the_sum_of_the_rows() -> None:
    lines = [" ".join(line.split()) for line in shown()]
    assert "All 67 2.00 MB 500 kB 75% 40.0 ms 0.3 ms" in lines


@pytest.mark.parametrize(
    ("client", "origin", "saved"),
    [(100, 0, "100%"), (100, 25, "75%"), (100, 112, "-12%"), (0, 0, "-"), (0, 10, "-")],
)
def test_saved(client: int, origin: int, saved: str) -> None:
    assert report.row(1, client, origin, (), ())[3] == saved


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ((), "-"),
        ((0.0004,), "0.4 ms"),
        ((0.001, 0.002, 0.9), "2.0 ms"),
        ((0.0999,), "99.9 ms"),
        ((1.2345,), "1234 ms"),
    ],
)
def test_milliseconds(times: tuple[float, ...], text: str) -> None:
    assert report.milliseconds(times) == text


def test_summary_has_the_price_and_the_saving() -> None:
    text = report.summary(OUTCOME.totals, 0.21)
    assert "Saved 1.50 MB of reads from the origin" in text
    assert "75% of the requests were hits" in text
    assert "$0.0004 for the 2.00 MB that clients got ($0.21 per GB)" in text


def test_links_have_a_command_with_a_range() -> None:
    text = report.links(URLS, browser=True)
    assert "http://127.0.0.1:8080/outputs/index.html" in text
    assert "curl -sS -D - -o /dev/null -r 400000-499999 http://127.0.0.1:8080/outputs/" in text
    assert "http://127.0.0.1:9180/metrics" in text


def test_links_for_a_terminal_only() -> None:
    text = report.links(URLS, browser=False)
    assert "index.html" not in text
    assert "curl" in text


def test_json_is_one_line_with_everything() -> None:
    line = report.as_json(OUTCOME, URLS)
    told = json.loads(line)
    assert "\n" not in line
    assert told["totals"]["saved_bytes"] == 1_500_000
    assert told["results"][0]["cold"] == [0.010, 0.020, 0.060]
    assert told["urls"] == URLS
