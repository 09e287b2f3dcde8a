"""Each process has a board of its own, and all see what any of them writes."""

from edgecache.board import Board
from edgecache.config import Costs
from edgecache.generations import MEMORY, Generations
from edgecache.metrics import Metrics
from edgecache.shared import Shared
from tests.forked import forked


def test_what_a_child_writes_is_seen() -> None:
    shared = Shared(["keeper", "worker-1"])

    def work() -> None:
        shared.config[0] = 7
        Generations(shared.generations).cells[5] = 11
        Metrics(Costs(), (), Board(shared.boards[1])).bad_requests.inc(3)

    with forked(work) as child:
        assert child.wait() == 0
    assert shared.config[0] == 7
    assert Generations(shared.generations).cells[5] == 11
    own, *others = map(Board, shared.boards)
    assert Metrics(Costs(), (), own, others).total("http_bad_requests_total") == 3


def test_the_parent_has_a_board_too_and_all_is_zero_at_first() -> None:
    shared = Shared(["keeper", "worker-1"])
    assert len(shared.boards) == 3
    assert shared.states.names == ("keeper", "worker-1")
    assert len(shared.generations) == MEMORY
    assert shared.config[0] == shared.removals[0] == 0
