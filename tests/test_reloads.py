"""What became of reloads, on one page, whoever counts them."""

from edgecache.board import Board
from edgecache.config import Costs
from edgecache.families import Families
from edgecache.metrics import Metrics
from edgecache.reloads import Reloads


def account(metrics: Metrics) -> tuple[float, float, float]:
    """(ok, failed, whether the last was)"""
    name = "config_reloads_total"
    ok, failed = (metrics.total(name, result=result) for result in ("ok", "failed"))
    return ok, failed, metrics.total("config_last_reload_successful")


def test_the_only_process_counts_its_own() -> None:
    metrics = Metrics(Costs())
    metrics.reloads.begin()
    assert account(metrics) == (0, 0, 1)
    metrics.reloads.ended(ok=False)
    metrics.reloads.ended(ok=False)
    assert account(metrics) == (0, 2, 0)
    metrics.reloads.ended(ok=True)
    metrics.reloads.ended(ok=True)
    assert account(metrics) == (2, 2, 1)


def test_a_parent_counts_for_its_children_also_for_those_to_come() -> None:
    parents, keepers = Board(bytearray(Board.SIZE)), Board(bytearray(Board.SIZE))
    reloads = Reloads(Families(parents))
    reloads.begin()
    Metrics(Costs(), (), keepers, [parents])
    reloads.ended(ok=True)
    successor = Metrics(Costs(), (), keepers, [parents])
    reloads.ended(ok=True)
    assert account(successor) == (2, 0, 1)
