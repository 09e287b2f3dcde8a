"""What people see of a warming."""

from collections import Counter
from io import StringIO

from rich.console import Console

from edgecache.cli.warm_drive import Totals
from edgecache.cli.warm_show import progress, summary


def test_lines_now_and_then_where_there_is_no_terminal() -> None:
    text, now = StringIO(), [0.0]
    totals = Totals(results=Counter(stored=3), bytes=2_500_000)
    with progress(Console(file=text), 10, lambda: now[0]) as show:
        show(totals)
        now[0] = 10.0
        show(totals)
        show(totals)
    assert text.getvalue() == "Warmed 3 of 10 objects, 2.5 MB\n"


def test_a_bar_on_a_terminal() -> None:
    text = StringIO()
    with progress(Console(file=text, force_terminal=True, width=120), None) as show:
        show(Totals(results=Counter(stored=3), bytes=2_500_000))
    assert "Warmed 3 objects, 2.5 MB" in text.getvalue()


def test_the_summary_says_what_is_not_there_and_why() -> None:
    failed = [{"key": "a\udc80", "result": "error", "detail": "cut"}]
    totals = Totals(results=Counter(hit=3, error=2), bytes=0, failed=failed)
    assert summary(totals, 1.0) == [
        "5 objects in 1.0 s: 3 hit, 2 error",
        "0.0 MB came into the cache",
        "not warmed: 'a\\udc80': error (cut)",
        "not warmed: 1 more",
    ]
    assert summary(Totals(), 0.0)[0] == "0 objects in 0.0 s: nothing to do"
